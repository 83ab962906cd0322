// Dispatches and their answers: a fixed head, then activations, then the experts.
#include "net/link_activations.hpp"
#include "net/link_bytes.hpp"

#include <algorithm>

namespace coel::net {

namespace {

// A batch is split by its sender; the receiver must not be made to allocate more than this.
constexpr uint32_t max_rows = 8192;
constexpr uint32_t max_hidden = 32768;
constexpr uint32_t max_columns = 1u << 20; // of the output matrix: the vocabulary
constexpr uint64_t max_values = 1u << 24;  // 64 MiB as f32
constexpr uint32_t max_experts = 4096;
constexpr size_t max_text_bytes = 1024;
constexpr size_t part_head_bytes = 8;
constexpr size_t pair_bytes = sizeof(uint32_t) + sizeof(float);

struct shape {
  uint32_t rows = 0;
  uint32_t hidden = 0;
  wire_type wire{};
};

void read_shape(frame_reader& in, shape& out, uint32_t max_width = max_hidden) {
  uint8_t wire = 0;
  in.get(out.rows, "rows").require(out.rows > 0 && out.rows <= max_rows, "rows");
  in.get(out.hidden, "hidden").require(out.hidden > 0 && out.hidden <= max_width, "hidden");
  in.require(uint64_t{out.rows} * out.hidden <= max_values, "rows times hidden");
  in.get(wire, "wire type").require(wire <= static_cast<uint8_t>(wire_type::int8), "wire type");
  out.wire = static_cast<wire_type>(wire);
  in.unused(3);
}

void put_shape(frame_writer& out, const shape& of) {
  out.put(of.rows).put(of.hidden).put(of.wire).bytes("\0\0", 3);
}

frame_writer head_of(const dispatch_head& head, wire_type wire, size_t experts) {
  frame_writer out(link_frame_kind::dispatch);
  out.put(head.patience_us).put(head.id).put(head.model).put(head.layer);
  out.put(static_cast<uint16_t>(experts));
  put_shape(out, {head.rows, head.hidden, wire});
  return out;
}

frame_writer head_of(const output_head& head, wire_type wire) {
  frame_writer out(link_frame_kind::output);
  out.put(head.patience_us).put(head.id).put(head.model).put(head.first).put(head.end);
  put_shape(out, {head.rows, head.hidden, wire});
  return out;
}

frame_writer head_of(const sum_frame& head, wire_type wire) {
  frame_writer out(link_frame_kind::sum);
  out.put(head.wait_us).put(head.id).put(head.run_us);
  put_shape(out, {head.rows, head.hidden, wire});
  return out;
}

size_t bytes_of(std::span<const expert_part> experts) {
  size_t bytes = 0;
  for (const auto& part : experts)
    bytes += part_head_bytes + part.rows.size() * pair_bytes;
  return bytes;
}

std::byte* append(std::byte* out, const void* from, size_t size) {
  if (size > 0) // an empty vector has no address
    std::memcpy(out, from, size);
  return out + size;
}

void put_experts(std::byte* out, std::span<const expert_part> experts) {
  for (const auto& part : experts) {
    auto expert = uint32_t{index(part.expert)};
    auto count = static_cast<uint32_t>(part.rows.size());
    out = append(out, &expert, sizeof expert);
    out = append(out, &count, sizeof count);
    out = append(out, part.rows.data(), count * sizeof(uint32_t));
    out = append(out, part.weights.data(), count * sizeof(float));
  }
}

// Nothing if a value does not fit the wire type.
template <class Head>
std::optional<zmq::message_t> encode_as(wire_type wire, const Head& head, const frame_writer& fixed,
                                        std::span<const float> values, size_t room_behind) {
  auto bytes = activation_bytes(wire, head.rows, head.hidden);
  zmq::message_t out(fixed.view().size() + bytes + room_behind);
  auto* at = append(out.data<std::byte>(), fixed.view().data(), fixed.view().size());
  if (!write_activations(wire, values, head.hidden, at))
    return std::nullopt;
  return out;
}

/// Head and values alone; as f32 if they do not fit the wire type.
template <class Head>
zmq::message_t encode_values(const Head& head, std::span<const float> values) {
  assert(values.size() == size_t{head.rows} * head.hidden);
  auto out = encode_as(head.wire, head, head_of(head, head.wire), values, 0);
  if (!out)
    out = encode_as(wire_type::f32, head, head_of(head, wire_type::f32), values, 0);
  return std::move(*out);
}

expert_part read_part(frame_reader& in, uint32_t rows) {
  expert_part part;
  uint32_t count = 0;
  in.get(part.expert, "expert").unused(2).get(count, "rows of an expert");
  in.require(count > 0 && count <= rows, "rows of an expert");
  if (!in.good())
    return part;
  part.rows = in.array<uint32_t>(count, "rows of an expert");
  part.weights = in.array<float>(count, "weights of an expert");
  if (!in.good())
    return part;
  in.require(rising_below(part.rows, rows), "rows of an expert");
  return part;
}

/// Else a frame could ask for far more work than a batch has.
bool all_distinct(std::span<const expert_part> experts) {
  std::vector<expert_id> named;
  for (const auto& part : experts)
    named.push_back(part.expert);
  std::sort(named.begin(), named.end());
  return std::adjacent_find(named.begin(), named.end()) == named.end();
}

result<void> check_weights(std::span<const expert_part> experts) {
  for (const auto& part : experts)
    if (!all_finite(part.weights))
      return {ec::bad_argument, "the frame holds a weight that is not a finite number"};
  return {};
}

} // namespace

zmq::message_t encode(const dispatch_head& head, std::span<const float> activations,
                      std::span<const expert_part> experts) {
  assert(activations.size() == size_t{head.rows} * head.hidden && experts.size() <= max_experts);
  auto room = bytes_of(experts);
  auto wire = head.wire;
  auto out = encode_as(wire, head, head_of(head, wire, experts.size()), activations, room);
  if (!out) { // beyond f16
    wire = wire_type::f32;
    out = encode_as(wire, head, head_of(head, wire, experts.size()), activations, room);
  }
  put_experts(out->data<std::byte>() + out->size() - room, experts);
  return std::move(*out);
}

zmq::message_t encode(const output_head& head, std::span<const float> activations) {
  return encode_values(head, activations);
}

zmq::message_t encode(const sum_frame& head, std::span<const float> values) {
  return encode_values(head, values);
}

zmq::message_t encode(const failure_frame& frame) {
  frame_writer out(link_frame_kind::failure);
  out.put(uint32_t{0}).put(frame.id);
  out.text(to_string(frame.why.code), max_text_bytes).text(frame.why.message, max_text_bytes);
  return out.message();
}

result<dispatch_frame> decode_dispatch(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::dispatch);
  dispatch_frame out;
  uint16_t experts = 0;
  shape of;
  in.get(out.head.patience_us, "patience").get(out.head.id, "id").get(out.head.model, "model");
  in.get(out.head.layer, "layer").get(experts, "experts");
  in.require(experts > 0 && experts <= max_experts, "experts");
  read_shape(in, of);
  auto bytes = in.take(activation_bytes(of.wire, of.rows, of.hidden), "activations");
  in.require(in.left() >= experts * (part_head_bytes + pair_bytes), "experts");
  if (!in.good())
    return in.problem();
  for (uint16_t i = 0; i < experts && in.good(); ++i)
    out.experts.push_back(read_part(in, of.rows));
  in.require(all_distinct(out.experts), "an expert is named twice");
  if (auto problem = in.finish())
    return *problem;
  if (auto checked = check_weights(out.experts); !checked.ok())
    return checked.err();
  auto values = read_activations(of.wire, of.rows, of.hidden, bytes);
  if (!values.ok())
    return values.err();
  out.activations = std::move(*values);
  out.head.rows = of.rows;
  out.head.hidden = of.hidden;
  out.head.wire = of.wire;
  return out;
}

result<output_frame> decode_output(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::output);
  output_frame out;
  shape of;
  auto& head = out.head;
  in.get(head.patience_us, "patience").get(head.id, "id").get(head.model, "model");
  in.get(head.first, "first column").get(head.end, "last column");
  in.require(head.first < head.end && head.end <= max_columns, "columns");
  read_shape(in, of);
  in.require(uint64_t{of.rows} * (head.end - head.first) <= max_values, "rows times columns");
  auto bytes = in.take(activation_bytes(of.wire, of.rows, of.hidden), "activations");
  if (auto problem = in.finish())
    return *problem;
  auto values = read_activations(of.wire, of.rows, of.hidden, bytes);
  if (!values.ok())
    return values.err();
  out.activations = std::move(*values);
  head.rows = of.rows;
  head.hidden = of.hidden;
  head.wire = of.wire;
  return out;
}

result<sum_frame> decode_sum(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::sum);
  sum_frame out;
  shape of;
  in.get(out.wait_us, "wait").get(out.id, "id").get(out.run_us, "run");
  read_shape(in, of, max_columns);
  auto bytes = in.take(activation_bytes(of.wire, of.rows, of.hidden), "values");
  if (auto problem = in.finish())
    return *problem;
  auto values = read_activations(of.wire, of.rows, of.hidden, bytes);
  if (!values.ok())
    return values.err();
  out.values = std::move(*values);
  out.rows = of.rows;
  out.hidden = of.hidden;
  out.wire = of.wire;
  return out;
}

result<failure_frame> decode_failure(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::failure);
  failure_frame out;
  std::string code;
  in.unused(4).get(out.id, "id");
  in.text(code, max_text_bytes, "code").text(out.why.message, max_text_bytes, "message");
  if (auto problem = in.finish())
    return *problem;
  out.why.code = ec_from_name(code);
  return out;
}

} // namespace coel::net
