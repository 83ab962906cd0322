#include "net/zap.hpp"

#include "net/keys.hpp"

#include <zmq_addon.hpp>

#include <array>

namespace coel::net {

namespace {

// Frames of a question: version, request id, domain, address, routing id, mechanism, credentials.
enum question_frame : size_t {
  version,
  request,
  domain,
  address,
  routing_id,
  mechanism,
  credentials
};
constexpr size_t key_bytes = 32;

std::string key_of(const zmq::message_t& credential) {
  if (credential.size() != key_bytes)
    return {};
  std::array<char, key_chars + 1> text{};
  ::zmq_z85_encode(text.data(), credential.data<uint8_t>(), key_bytes);
  return text.data();
}

} // namespace

zap_handler::zap_handler(zmq::context_t& context, const std::vector<std::string>& allowed,
                         bool allow_any)
    : socket_(context, zmq::socket_type::rep), allowed_(allowed.begin(), allowed.end()),
      allow_any_(allow_any) {
  socket_.set(zmq::sockopt::linger, 0);
  socket_.bind("inproc://zeromq.zap.01");
}

bool zap_handler::admits(const std::vector<zmq::message_t>& question) const {
  if (question.size() <= credentials || question[version].to_string_view() != "1.0" ||
      question[mechanism].to_string_view() != "CURVE")
    return false;
  return allow_any_ || allowed_.contains(key_of(question[credentials]));
}

void zap_handler::serve() {
  std::vector<zmq::message_t> question;
  while (zmq::recv_multipart(socket_, std::back_inserter(question), zmq::recv_flags::dontwait)) {
    bool admitted = admits(question);
    std::string id = question.size() > request ? question[request].to_string() : std::string();
    std::array<std::string, 6> answer{
        "1.0", id, admitted ? "200" : "400", admitted ? "" : "this key is not admitted", "", ""};
    for (size_t i = 0; i < answer.size(); ++i)
      socket_.send(zmq::buffer(answer[i]),
                   i + 1 < answer.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
    question.clear();
  }
}

} // namespace coel::net
