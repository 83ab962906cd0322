#include "net/zap.hpp"

#include "net/keys.hpp"

#include <zmq_addon.hpp>

#include <array>
#include <set>

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

// Empty if the question is not one of CURVE.
std::string key_of(const std::vector<zmq::message_t>& question) {
  if (question.size() <= credentials || question[version].to_string_view() != "1.0" ||
      question[mechanism].to_string_view() != "CURVE" || question[credentials].size() != key_bytes)
    return {};
  std::array<char, key_chars + 1> text{};
  ::zmq_z85_encode(text.data(), question[credentials].data<uint8_t>(), key_bytes);
  return text.data();
}

} // namespace

zap_handler::zap_handler(zmq::context_t& context, predicate admits)
    : socket_(context, zmq::socket_type::rep), admits_(std::move(admits)) {
  socket_.set(zmq::sockopt::linger, 0);
  socket_.bind("inproc://zeromq.zap.01");
}

zap_handler::zap_handler(zmq::context_t& context, const std::vector<std::string>& allowed,
                         bool allow_any)
    : zap_handler(context, [keys = std::set<std::string>(allowed.begin(), allowed.end()),
                            allow_any](const std::string& key, const std::string&) {
        return allow_any || keys.contains(key);
      }) {}

void zap_handler::serve() {
  std::vector<zmq::message_t> question;
  while (zmq::recv_multipart(socket_, std::back_inserter(question), zmq::recv_flags::dontwait)) {
    auto key = key_of(question);
    bool admitted = !key.empty() && admits_(key, plain_address(question[address].to_string()));
    std::string id = question.size() > request ? question[request].to_string() : std::string();
    std::array<std::string, 6> answer{"1.0",
                                      id,
                                      admitted ? "200" : "400",
                                      admitted ? "" : "this key is not admitted",
                                      admitted ? key : "",
                                      ""};
    for (size_t i = 0; i < answer.size(); ++i)
      socket_.send(zmq::buffer(answer[i]),
                   i + 1 < answer.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
    question.clear();
  }
}

std::string plain_address(std::string address) {
  constexpr std::string_view mapped = "::ffff:";
  return address.starts_with(mapped) ? address.substr(mapped.size()) : address;
}

} // namespace coel::net
