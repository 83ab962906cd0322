// Sessions at another home.
#include "net/link_bytes.hpp"

namespace coel::net {

namespace {

template <class Frame>
zmq::message_t encode_message(link_frame_kind kind, const Frame& frame) {
  assert(frame.message.size() <= max_guest_bytes);
  frame_writer out(kind);
  out.put(uint32_t{0}).put(frame.id).bytes(frame.message.data(), frame.message.size());
  return out.message();
}

template <class Frame>
result<Frame> decode_message(link_frame_kind kind, std::span<const std::byte> frame) {
  frame_reader in(frame, kind);
  Frame out;
  in.unused(4).get(out.id, "id").require(in.left() <= max_guest_bytes, "message");
  auto bytes = in.take(in.left(), "message");
  if (auto problem = in.finish())
    return *problem;
  out.message.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return out;
}

} // namespace

zmq::message_t encode(const guest_frame& frame) {
  return encode_message(link_frame_kind::guest, frame);
}
zmq::message_t encode(const guest_answer_frame& frame) {
  return encode_message(link_frame_kind::guest_answer, frame);
}
zmq::message_t encode(const guest_end_frame& frame) {
  frame_writer out(link_frame_kind::guest_end);
  out.put(uint32_t{0}).put(frame.id);
  return out.message();
}

result<guest_frame> decode_guest(std::span<const std::byte> frame) {
  return decode_message<guest_frame>(link_frame_kind::guest, frame);
}
result<guest_answer_frame> decode_guest_answer(std::span<const std::byte> frame) {
  return decode_message<guest_answer_frame>(link_frame_kind::guest_answer, frame);
}
result<guest_end_frame> decode_guest_end(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::guest_end);
  guest_end_frame out;
  in.unused(4).get(out.id, "id");
  if (auto problem = in.finish())
    return *problem;
  return out;
}

} // namespace coel::net
