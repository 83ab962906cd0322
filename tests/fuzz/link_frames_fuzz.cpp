// Bytes of a socket as each kind of frame between nodes. What is read must survive being written
// again.
#include "net/link_frames.hpp"

#include <cmath>
#include <cstdlib>

using namespace coel::net;

namespace {

using bytes = std::span<const std::byte>;

bytes view(const zmq::message_t& message) {
  return {message.data<std::byte>(), message.size()};
}

bool same(const zmq::message_t& a, const zmq::message_t& b) {
  return a.to_string_view() == b.to_string_view();
}

// `decode` gives a frame, `again` writes it.
template <class Decode, class Encode>
void survives(bytes frame, Decode decode, Encode again) {
  auto first = decode(frame);
  if (!first.ok())
    return;
  auto written = again(*first);
  auto second = decode(view(written));
  if (!second.ok() || !same(written, again(*second)))
    std::abort();
}

void require_finite(const std::vector<float>& values, size_t rows, size_t hidden) {
  if (values.size() != rows * hidden)
    std::abort();
  for (float value : values)
    if (!std::isfinite(value))
      std::abort();
}

// int8 may round once more, so it is not written again.
void dispatch(bytes frame) {
  auto read = decode_dispatch(frame);
  if (!read.ok())
    return;
  require_finite(read->activations, read->head.rows, read->head.hidden);
  for (const auto& part : read->experts)
    if (part.rows.empty() || part.rows.size() != part.weights.size() ||
        part.rows.back() >= read->head.rows)
      std::abort();
  if (read->head.wire == wire_type::int8)
    return;
  auto written = encode(read->head, read->activations, read->experts);
  if (written.to_string_view() !=
      std::string_view(reinterpret_cast<const char*>(frame.data()), frame.size()))
    std::abort();
}

void output(bytes frame) {
  auto read = decode_output(frame);
  if (!read.ok())
    return;
  require_finite(read->activations, read->head.rows, read->head.hidden);
  if (read->head.first >= read->head.end)
    std::abort();
  if (!decode_output(view(encode(read->head, read->activations))).ok() &&
      read->head.wire != wire_type::int8)
    std::abort();
}

void sum(bytes frame) {
  auto read = decode_sum(frame);
  if (!read.ok())
    return;
  require_finite(read->values, read->rows, read->hidden);
  if (!decode_sum(view(encode(*read, read->values))).ok() && read->wire != wire_type::int8)
    std::abort();
}

void run(bytes frame) {
  auto read = decode_stage_run(frame);
  if (!read.ok())
    return;
  require_finite(read->values, read->rows(), read->hidden);
  for (auto row : read->wanted)
    if (row >= read->rows())
      std::abort();
  auto again = decode_stage_run(view(encode(*read, wire_type::f32)));
  if (!again.ok() || again->values != read->values || again->parts != read->parts ||
      again->hops != read->hops || again->routing != read->routing)
    std::abort();
}

void answer(bytes frame) {
  auto read = decode_stage_answer(frame);
  if (!read.ok())
    return;
  require_finite(read->values, read->hidden ? read->values.size() / read->hidden : 0, read->hidden);
  auto again = decode_stage_answer(view(encode(*read, wire_type::f32)));
  if (!again.ok() || again->values != read->values || again->outcome.ok() != read->outcome.ok())
    std::abort();
}

constexpr auto write_again = [](const auto& frame) { return encode(frame); };

void small(link_frame_kind kind, bytes frame) {
  switch (kind) {
  case link_frame_kind::greeting:
    return survives(frame, decode_greeting, write_again);
  case link_frame_kind::refusal:
    return survives(frame, decode_refusal, write_again);
  case link_frame_kind::failure:
    return survives(frame, decode_failure, write_again);
  case link_frame_kind::ping:
  case link_frame_kind::pong:
    return survives(frame, decode_ping,
                    [kind](const ping_frame& ping) { return encode(kind, ping); });
  case link_frame_kind::record:
    return survives(frame, decode_record, write_again);
  case link_frame_kind::want:
    return survives(frame, decode_want, write_again);
  case link_frame_kind::block:
    return survives(frame, decode_block,
                    [](const block_frame& block) { return encode(block, block.bytes); });
  case link_frame_kind::goodbye:
    return survives(frame, decode_goodbye, write_again);
  case link_frame_kind::drain:
    return survives(frame, decode_drain, write_again);
  case link_frame_kind::reservation:
    return survives(frame, decode_reservation, write_again);
  case link_frame_kind::guest:
    return survives(frame, decode_guest, write_again);
  case link_frame_kind::guest_answer:
    return survives(frame, decode_guest_answer, write_again);
  case link_frame_kind::guest_end:
    return survives(frame, decode_guest_end, write_again);
  case link_frame_kind::stage_open:
    return survives(frame, decode_stage_open, write_again);
  case link_frame_kind::stage_granted:
    return survives(frame, decode_stage_granted, write_again);
  case link_frame_kind::stage_close:
    return survives(frame, decode_stage_close, write_again);
  case link_frame_kind::stage_run:
    return run(frame);
  case link_frame_kind::stage_answer:
    return answer(frame);
  default:
    return;
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  bytes frame(reinterpret_cast<const std::byte*>(data), size);
  auto kind = kind_of(frame);
  if (!kind)
    return 0;
  if (*kind == link_frame_kind::dispatch)
    dispatch(frame);
  else if (*kind == link_frame_kind::sum)
    sum(frame);
  else if (*kind == link_frame_kind::output)
    output(frame);
  else
    small(*kind, frame);
  return 0;
}
