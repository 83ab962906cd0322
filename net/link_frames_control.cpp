// How neighbours meet, part and keep in touch.
#include "net/link_bytes.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cmath>

namespace coel::net {

namespace {

constexpr size_t max_name_bytes = 255;
constexpr size_t max_text_bytes = 1024;
constexpr size_t max_models = 64;
constexpr size_t max_key_bytes = 255;
constexpr size_t max_record_bytes = 256u << 10;

/// A name would have to be looked up, and libzmq does that on the thread that serves all links.
bool is_address(const std::string& text) {
  in_addr out{};
  return ::inet_pton(AF_INET, text.c_str(), &out) == 1;
}

void read_models(frame_reader& in, std::vector<greeting_frame::model>& out) {
  uint16_t count = 0;
  in.get(count, "models").require(count <= max_models, "models");
  for (uint16_t i = 0; i < count && in.good(); ++i) {
    greeting_frame::model one;
    in.text(one.name, max_name_bytes, "name of a model").get(one.hash, "hash of a model");
    out.push_back(std::move(one));
  }
}

} // namespace

// Up to `boot` in every version, so that each can say that it is not the other's.
zmq::message_t encode(const greeting_frame& frame) {
  frame_writer out(link_frame_kind::greeting);
  out.put(frame.version).put(frame.link_port).put(frame.nonce).put(frame.echo).put(frame.boot);
  out.text(frame.link_address, max_name_bytes);
  out.text(frame.name, max_name_bytes).text(frame.build, max_name_bytes);
  auto models = std::min(frame.models.size(), max_models);
  out.put(static_cast<uint16_t>(models));
  for (size_t i = 0; i < models; ++i)
    out.text(frame.models[i].name, max_name_bytes).put(frame.models[i].hash);
  return out.message();
}

result<greeting_frame> decode_greeting(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::greeting);
  greeting_frame out;
  in.get(out.version, "version").get(out.link_port, "port").get(out.nonce, "nonce");
  in.get(out.echo, "echo").get(out.boot, "boot");
  if (!in.good())
    return in.problem();
  if (out.version != link_protocol_version)
    return out; // what follows is not known
  in.text(out.link_address, max_name_bytes, "address");
  in.text(out.name, max_name_bytes, "name").text(out.build, max_name_bytes, "build");
  read_models(in, out.models);
  if (auto problem = in.finish())
    return *problem;
  if (!is_address(out.link_address))
    out.link_address.clear();
  return out;
}

// The same in every version.
zmq::message_t encode(const refusal_frame& frame) {
  frame_writer out(link_frame_kind::refusal);
  out.put(uint32_t{0}).put(frame.echo);
  out.text(to_string(frame.why.code), max_text_bytes).text(frame.why.message, max_text_bytes);
  return out.message();
}

result<refusal_frame> decode_refusal(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::refusal);
  refusal_frame out;
  std::string code;
  in.unused(4).get(out.echo, "echo");
  in.text(code, max_text_bytes, "code").text(out.why.message, max_text_bytes, "message");
  if (auto problem = in.finish())
    return *problem;
  out.why.code = ec_from_name(code);
  return out;
}

zmq::message_t encode(link_frame_kind ping_or_pong, const ping_frame& frame) {
  frame_writer out(ping_or_pong);
  out.put(uint32_t{0}).put(frame.id).put(frame.sent_us);
  return out.message();
}

result<ping_frame> decode_ping(std::span<const std::byte> frame) {
  auto kind =
      kind_of(frame) == link_frame_kind::pong ? link_frame_kind::pong : link_frame_kind::ping;
  frame_reader in(frame, kind);
  ping_frame out;
  in.unused(4).get(out.id, "id").get(out.sent_us, "time");
  if (auto problem = in.finish())
    return *problem;
  return out;
}

zmq::message_t encode(const record_frame& frame) {
  assert(frame.bytes.size() <= max_record_bytes);
  frame_writer out(link_frame_kind::record);
  return out.bytes(frame.bytes.data(), frame.bytes.size()).message();
}

result<record_frame> decode_record(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::record);
  in.require(in.left() <= max_record_bytes, "a record has at most 256 KiB");
  auto bytes = in.take(in.left(), "record");
  if (auto problem = in.finish())
    return *problem;
  return record_frame{{bytes.begin(), bytes.end()}};
}

zmq::message_t encode(const goodbye_frame& frame) {
  frame_writer out(link_frame_kind::goodbye);
  return out.text(frame.reason, max_text_bytes).message();
}

result<goodbye_frame> decode_goodbye(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::goodbye);
  goodbye_frame out;
  in.text(out.reason, max_text_bytes, "reason");
  if (auto problem = in.finish())
    return *problem;
  return out;
}

zmq::message_t encode(const drain_frame&) {
  return frame_writer(link_frame_kind::drain).put(uint32_t{0}).message();
}

result<drain_frame> decode_drain(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::drain);
  in.unused(4);
  if (auto problem = in.finish())
    return *problem;
  return drain_frame{};
}

zmq::message_t encode(const reservation_message& m) {
  frame_writer out(link_frame_kind::reservation);
  out.put(static_cast<uint32_t>(m.kind)).put(m.id.attempt).put(m.bytes).put(m.priority);
  out.put(static_cast<uint64_t>(m.stamp.count()));
  return out.text(m.id.home, max_key_bytes).message();
}

result<reservation_message> decode_reservation(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::reservation);
  reservation_message out;
  uint32_t kind = 0;
  uint64_t stamp = 0;
  in.get(kind, "kind").get(out.id.attempt, "attempt").get(out.bytes, "bytes");
  in.get(out.priority, "priority").get(stamp, "time");
  in.text(out.id.home, max_key_bytes, "home");
  in.require(kind <= static_cast<uint32_t>(reservation_message::what::released), "kind");
  in.require(std::isfinite(out.priority) && out.priority >= 0, "priority");
  in.require(stamp <= INT64_MAX, "time");
  if (auto problem = in.finish())
    return *problem;
  out.kind = static_cast<reservation_message::what>(kind);
  out.stamp = std::chrono::microseconds(static_cast<int64_t>(stamp));
  return out;
}

} // namespace coel::net
