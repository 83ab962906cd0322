// Layers of a session at another node: room asked for, rows on their way, the answer to the home.
#include "net/link_activations.hpp"
#include "net/link_bytes.hpp"

namespace coel::net {

namespace {

constexpr uint32_t max_layers = 1024;
constexpr uint32_t max_rows = 8192;
constexpr uint32_t max_hidden = 32768;
constexpr uint64_t max_values = 1u << 24;
constexpr uint32_t max_hops = 64;
constexpr uint32_t max_parts = 1024;
constexpr uint32_t max_top_k = 256;
constexpr uint32_t max_routing = 1u << 24;
constexpr size_t max_key_bytes = 255;
constexpr size_t max_text_bytes = 1024;

void put_costs(frame_writer& out, const stage_costs& c) {
  out.put(c.wait_us).put(c.run_us).put(c.rounds).put(c.wire_bytes);
}

void get_costs(frame_reader& in, stage_costs& c) {
  in.get(c.wait_us, "wait").get(c.run_us, "run").get(c.rounds, "rounds");
  in.get(c.wire_bytes, "bytes");
}

void get_layers(frame_reader& in, uint32_t& first, uint32_t& end) {
  in.get(first, "first layer").get(end, "end of layers");
  in.require(first < end && end <= max_layers, "layers");
}

template <class T>
void put_array(frame_writer& out, const std::vector<T>& values) {
  if (!values.empty())
    out.bytes(values.data(), values.size() * sizeof(T));
}

/// Everything but the activations, which come last: [rows, hidden].
struct tail {
  uint32_t rows = 0;
  uint32_t hidden = 0;
};

void put_tail(frame_writer& out, const tail& of, const std::vector<uint16_t>& routing,
              wire_type wire) {
  out.put(static_cast<uint32_t>(routing.size()));
  put_array(out, routing);
  out.put(of.rows).put(of.hidden).put(wire);
}

/// Nothing if a value does not fit the wire type.
template <class MakeHead>
std::optional<zmq::message_t> encode_as(wire_type wire, const MakeHead& make_head, const tail& of,
                                        const std::vector<float>& values) {
  frame_writer fixed = make_head(wire);
  zmq::message_t out(fixed.view().size() + activation_bytes(wire, of.rows, of.hidden));
  std::memcpy(out.data(), fixed.view().data(), fixed.view().size());
  if (!values.empty() &&
      !write_activations(wire, values, of.hidden, out.data<std::byte>() + fixed.view().size()))
    return std::nullopt;
  return out;
}

/// As f32 if a value is beyond f16.
template <class MakeHead>
zmq::message_t encode_any(wire_type wire, const MakeHead& make_head, const tail& of,
                          const std::vector<float>& values) {
  assert(values.size() == size_t{of.rows} * of.hidden);
  auto out = encode_as(wire, make_head, of, values);
  if (!out)
    out = encode_as(wire_type::f32, make_head, of, values);
  return std::move(*out);
}

struct taken_tail {
  tail of;
  wire_type wire{};
  std::vector<uint16_t> routing;
  std::span<const std::byte> bytes;
};

taken_tail take_tail(frame_reader& in) {
  taken_tail out;
  uint32_t count = 0;
  uint8_t wire = 0;
  in.get(count, "routing").require(count <= max_routing, "routing");
  out.routing = in.array<uint16_t>(in.good() ? count : 0, "routing");
  in.get(out.of.rows, "rows").require(out.of.rows <= max_rows, "rows");
  in.get(out.of.hidden, "hidden")
      .require(out.of.hidden > 0 && out.of.hidden <= max_hidden, "hidden");
  in.require(uint64_t{out.of.rows} * out.of.hidden <= max_values, "rows times hidden");
  in.get(wire, "wire type").require(wire <= static_cast<uint8_t>(wire_type::int8), "wire type");
  out.wire = static_cast<wire_type>(wire);
  if (in.good())
    out.bytes = in.take(activation_bytes(out.wire, out.of.rows, out.of.hidden), "activations");
  return out;
}

result<std::vector<float>> values_of(const taken_tail& t) {
  if (t.of.rows == 0)
    return std::vector<float>{};
  return read_activations(t.wire, t.of.rows, t.of.hidden, t.bytes);
}

template <class Frame>
result<Frame> with_rows(Frame out, taken_tail tail) {
  auto values = values_of(tail);
  if (!values)
    return values.err();
  out.hidden = tail.of.hidden;
  out.values = std::move(*values);
  out.routing = std::move(tail.routing);
  return out;
}

/// Where one stage ends the next begins.
bool contiguous(const std::vector<stage_hop>& hops) {
  for (size_t i = 1; i < hops.size(); ++i)
    if (hops[i].first != hops[i - 1].end)
      return false;
  return true;
}

void get_hops(frame_reader& in, std::vector<stage_hop>& hops) {
  uint16_t count = 0;
  in.get(count, "stages").require(count > 0 && count <= max_hops, "stages");
  for (uint16_t i = 0; in.good() && i < count; ++i) {
    stage_hop h;
    in.text(h.key, max_key_bytes, "key of a stage");
    get_layers(in, h.first, h.end);
    hops.push_back(std::move(h));
  }
  in.require(contiguous(hops), "stages that do not follow each other");
}

void get_parts(frame_reader& in, std::vector<stage_part>& parts, uint64_t& rows) {
  uint16_t count = 0;
  in.get(count, "sessions").require(count > 0 && count <= max_parts, "sessions");
  for (uint16_t i = 0; in.good() && i < count; ++i) {
    stage_part p;
    in.get(p.session, "session").get(p.position, "position").get(p.rows, "rows of a session");
    in.require(p.rows > 0 && p.rows <= max_rows, "rows of a session");
    in.require(uint64_t{p.position} + p.rows <= UINT32_MAX, "position");
    rows += p.rows;
    parts.push_back(p);
  }
}

} // namespace

zmq::message_t encode(const stage_open_frame& f) {
  frame_writer out(link_frame_kind::stage_open);
  out.put(f.open.tokens).put(f.id).put(f.open.session).put(f.open.model);
  return out.put(f.open.first).put(f.open.end).message();
}

result<stage_open_frame> decode_stage_open(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::stage_open);
  stage_open_frame out;
  in.get(out.open.tokens, "tokens").require(out.open.tokens > 0, "tokens");
  in.get(out.id, "id").get(out.open.session, "session").get(out.open.model, "model");
  get_layers(in, out.open.first, out.open.end);
  if (auto problem = in.finish())
    return *problem;
  return out;
}

zmq::message_t encode(const stage_granted_frame& f) {
  return frame_writer(link_frame_kind::stage_granted).put(uint32_t{0}).put(f.id).message();
}

result<stage_granted_frame> decode_stage_granted(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::stage_granted);
  stage_granted_frame out;
  in.unused(4).get(out.id, "id");
  if (auto problem = in.finish())
    return *problem;
  return out;
}

zmq::message_t encode(const stage_close& f) {
  frame_writer out(link_frame_kind::stage_close);
  return out.put(f.session).put(f.model).message();
}

result<stage_close> decode_stage_close(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::stage_close);
  stage_close out;
  in.get(out.session, "session").get(out.model, "model");
  if (auto problem = in.finish())
    return *problem;
  return out;
}

zmq::message_t encode(const stage_run& run, wire_type wire) {
  assert(run.hops.size() <= max_hops && run.parts.size() <= max_parts);
  tail of{run.rows(), run.hidden};
  auto head = [&](wire_type as) {
    frame_writer out(link_frame_kind::stage_run);
    out.put(run.top_k).put(run.run).put(run.model).text(run.home, max_key_bytes);
    put_costs(out, run.costs);
    out.put(static_cast<uint16_t>(run.hops.size()));
    for (const auto& h : run.hops)
      out.text(h.key, max_key_bytes).put(h.first).put(h.end);
    out.put(static_cast<uint16_t>(run.parts.size()));
    for (const auto& p : run.parts)
      out.put(p.session).put(p.position).put(p.rows);
    out.put(static_cast<uint32_t>(run.wanted.size()));
    put_array(out, run.wanted);
    put_tail(out, of, run.routing, as);
    return out;
  };
  return encode_any(wire, head, of, run.values);
}

result<stage_run> decode_stage_run(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::stage_run);
  stage_run out;
  uint32_t wanted = 0;
  uint64_t rows = 0;
  in.get(out.top_k, "experts a row").require(out.top_k > 0 && out.top_k <= max_top_k, "top k");
  in.get(out.run, "run").get(out.model, "model").text(out.home, max_key_bytes, "home");
  get_costs(in, out.costs);
  get_hops(in, out.hops);
  get_parts(in, out.parts, rows);
  in.require(rows <= max_rows, "rows").get(wanted, "wanted rows");
  in.require(wanted <= rows, "wanted rows");
  out.wanted = in.array<uint32_t>(in.good() ? wanted : 0, "wanted rows");
  auto tail = take_tail(in);
  if (auto problem = in.finish())
    return *problem;
  if (!rising_below(out.wanted, tail.of.rows) || rows != tail.of.rows ||
      tail.routing.size() != uint64_t{out.hops.front().first} * rows * out.top_k)
    return {ec::bad_frame, "a run whose rows, wanted rows and routing do not fit each other"};
  return with_rows(std::move(out), std::move(tail));
}

zmq::message_t encode(const stage_answer& answer, wire_type wire) {
  auto rows = answer.hidden ? static_cast<uint32_t>(answer.values.size() / answer.hidden) : 0;
  tail of{rows, std::max(1u, answer.hidden)};
  auto head = [&](wire_type as) {
    frame_writer out(link_frame_kind::stage_answer);
    bool ok = answer.outcome.ok();
    out.put(uint32_t{ok}).put(answer.run).put(answer.model);
    out.text(ok ? "" : to_string(answer.outcome.err().code), max_text_bytes);
    out.text(ok ? "" : answer.outcome.err().message, max_text_bytes);
    put_costs(out, answer.costs);
    put_tail(out, of, answer.routing, as);
    return out;
  };
  return encode_any(wire, head, of, answer.values);
}

result<stage_answer> decode_stage_answer(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::stage_answer);
  stage_answer out;
  uint32_t ok = 0;
  std::string code, message;
  in.get(ok, "outcome").require(ok <= 1, "outcome").get(out.run, "run").get(out.model, "model");
  in.text(code, max_text_bytes, "code").text(message, max_text_bytes, "message");
  get_costs(in, out.costs);
  auto tail = take_tail(in);
  if (auto problem = in.finish())
    return *problem;
  if (!ok)
    out.outcome = error{ec_from_name(code), message};
  return with_rows(std::move(out), std::move(tail));
}

} // namespace coel::net
