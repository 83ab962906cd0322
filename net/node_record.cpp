#include "net/node_record.hpp"

#include "net/msgpack_reader.hpp"

#include <cstring>

namespace coel::net {

namespace {

constexpr size_t max_models = 64;
constexpr size_t max_neighbours = 256;
constexpr size_t max_endpoints = 16;
constexpr size_t max_text = 256;
constexpr uint32_t max_layers = 1024;
constexpr uint32_t max_experts = 65535;
constexpr size_t max_items = 1u << 22; // experts of a model, in all its layers
constexpr size_t max_shares = 64;
constexpr size_t max_options = 32;
constexpr size_t max_reason = 1024;

using packer = msgpack::packer<msgpack::sbuffer>;

void put(packer& to, std::string_view name) {
  to.pack(name);
}

template <class Bytes>
void put_bytes(packer& to, const Bytes& bytes) {
  to.pack_bin(static_cast<uint32_t>(bytes.size()));
  to.pack_bin_body(reinterpret_cast<const char*>(bytes.data()),
                   static_cast<uint32_t>(bytes.size()));
}

void put_share(packer& to, const planned_share& s) {
  to.pack_map(2);
  put(to, "key"), to.pack(s.key);
  put(to, "holds"), put_bytes(to, s.holds.bytes());
}

void put_stage(packer& to, const planned_stage& s) {
  to.pack_map(3);
  put(to, "key"), to.pack(s.key);
  put(to, "first"), to.pack(s.first);
  put(to, "layers"), to.pack(s.layers);
}

void put_option(packer& to, const plan_option& o) {
  to.pack_map(5);
  put(to, "name"), to.pack(o.name);
  put(to, "token_us"), to.pack(o.token_us);
  put(to, "request_us"), to.pack(o.request_us);
  put(to, "rounds"), to.pack(o.rounds);
  put(to, "bytes"), to.pack(o.bytes);
}

void put_plan(packer& to, const plan_record& p) {
  to.pack_map(8);
  put(to, "epoch"), to.pack(p.epoch);
  put(to, "planner"), to.pack(p.planner);
  put(to, "chosen"), put_option(to, p.chosen);
  put(to, "why"), to.pack(p.why.substr(0, max_reason));
  put(to, "alone"), to.pack(p.alone);
  put(to, "options"), to.pack_array(static_cast<uint32_t>(p.options.size()));
  for (const auto& o : p.options)
    put_option(to, o);
  put(to, "shares"), to.pack_array(static_cast<uint32_t>(p.shares.size()));
  for (const auto& s : p.shares)
    put_share(to, s);
  put(to, "stages"), to.pack_array(static_cast<uint32_t>(p.stages.size()));
  for (const auto& s : p.stages)
    put_stage(to, s);
}

void put_model(packer& to, const model_record& m) {
  to.pack_map(19 + uint32_t{m.reads} + uint32_t{m.plan.epoch > 0});
  put(to, "name"), to.pack(m.name);
  put(to, "hash"), put_bytes(to, m.hash);
  put(to, "layers"), to.pack(m.layers);
  put(to, "experts"), to.pack(m.experts_per_layer);
  put(to, "expert_bytes"), to.pack(m.expert_bytes);
  put(to, "capacity"), to.pack(m.capacity_bytes);
  put(to, "complete"), to.pack(m.complete);
  put(to, "home"), to.pack(m.home);
  put(to, "chunks"), to.pack(static_cast<uint32_t>(m.chunks.size()));
  put(to, "has_chunks"), put_bytes(to, m.chunks.bytes());
  put(to, "expert_us"), to.pack(m.speed.expert_us);
  put(to, "row_us"), to.pack(m.speed.row_us);
  put(to, "holds"), put_bytes(to, m.holds.bytes());
  put(to, "popularity"), put_bytes(to, m.popularity);
  put(to, "layer_us"), to.pack(m.dense.layer_us);
  put(to, "layer_row_us"), to.pack(m.dense.layer_row_us);
  put(to, "head_us"), to.pack(m.dense.head_us);
  put(to, "tokens_s"), to.pack(m.tokens_per_s);
  put(to, "sessions"), to.pack(m.sessions);
  if (m.reads)
    put(to, "reads"), to.pack(true);
  if (m.plan.epoch)
    put(to, "plan"), put_plan(to, m.plan);
}

void put_neighbour(packer& to, const neighbour_record& n) {
  to.pack_map(3);
  put(to, "key"), to.pack(n.key);
  put(to, "rtt_us"), to.pack(n.round_trip_us);
  put(to, "goodput"), to.pack(n.goodput_bytes_s);
}

/// Bytes of a field; a problem if it is something else or longer than `limit`.
std::vector<uint8_t> bytes_of(field_reader& from, std::string_view name, size_t limit) {
  const auto* value = from.need(name);
  if (!value)
    return {};
  if (value->type != msgpack::type::BIN || value->via.bin.size > limit) {
    from.fail(ec::bad_frame, "a record's '" + std::string(name) + "' is not at most " +
                                 std::to_string(limit) + " bytes");
    return {};
  }
  const auto* first = reinterpret_cast<const uint8_t*>(value->via.bin.ptr);
  return {first, first + value->via.bin.size};
}

void real(field_reader& from, std::string_view name, double& out) {
  float value = 0;
  from.number(name, value);
  if (!(value >= 0 && value < 1e12f))
    from.fail(ec::bad_frame, "a record's '" + std::string(name) + "' is not a time");
  out = value;
}

void check_shape(field_reader& from, const model_record& m) {
  if (m.layers == 0 || m.layers > max_layers || m.experts_per_layer == 0 ||
      m.experts_per_layer > max_experts || size_t{m.layers} * m.experts_per_layer > max_items)
    from.fail(ec::bad_frame, "a record's model has " + std::to_string(m.layers) + " layers of " +
                                 std::to_string(m.experts_per_layer) + " experts");
}

/// Each element of an array of maps.
template <class Record, class Read>
void read_list(field_reader& from, std::string_view name, size_t limit, std::vector<Record>& out,
               Read read) {
  const auto* list = from.array(name, limit);
  if (!list)
    return;
  for (uint32_t i = 0; i < list->size && !from.problem(); ++i) {
    if (list->ptr[i].type != msgpack::type::MAP)
      return from.fail(ec::bad_frame,
                       "a record's '" + std::string(name) + "' is not a list of maps");
    std::optional<error> problem;
    read(field_reader(list->ptr[i]), out.emplace_back(), problem);
    if (problem)
      from.fail(problem->code, problem->message);
  }
}

void read_option(field_reader from, plan_option& o, std::optional<error>& problem) {
  from.text("name", o.name, max_text);
  real(from, "token_us", o.token_us);
  real(from, "request_us", o.request_us);
  real(from, "rounds", o.rounds);
  real(from, "bytes", o.bytes);
  problem = from.problem();
}

void read_stage(field_reader from, planned_stage& s, std::optional<error>& problem) {
  from.text("key", s.key, max_text);
  from.count("first", s.first);
  from.count("layers", s.layers);
  problem = from.problem();
}

/// All layers of the model, each once and in order.
bool cover(const std::vector<planned_stage>& stages, uint32_t layers) {
  uint32_t next = 0;
  for (const auto& s : stages) {
    if (s.first != next || s.layers == 0 || s.layers > layers - next)
      return false;
    next += s.layers;
  }
  return next == layers;
}

void read_plan(field_reader from, plan_record& p, size_t items, uint32_t layers,
               std::optional<error>& problem) {
  from.count("epoch", p.epoch);
  from.text("planner", p.planner, max_text);
  from.text("why", p.why, max_reason);
  from.boolean("alone", p.alone);
  read_list(from, "options", max_options, p.options, read_option);
  const auto* chosen = from.find("chosen");
  if (chosen && chosen->type == msgpack::type::MAP)
    read_option(field_reader(*chosen), p.chosen, problem);
  if (problem)
    return;
  read_list(from, "shares", max_shares, p.shares,
            [items](field_reader share, planned_share& s, std::optional<error>& wrong) {
              share.text("key", s.key, max_text);
              auto holds = bytes_of(share, "holds", max_items / 8);
              if (!share.problem() && !bitmap::fits(items, holds))
                share.fail(ec::bad_frame, "a plan's 'holds' has the wrong size");
              wrong = share.problem();
              if (!wrong)
                s.holds = bitmap(items, std::move(holds));
            });
  read_list(from, "stages", max_shares, p.stages, read_stage);
  if (!p.stages.empty() && !cover(p.stages, layers))
    from.fail(ec::bad_frame, "a plan's stages are not all layers in order");
  problem = from.problem();
}

void read_model(field_reader from, model_record& m, std::optional<error>& problem) {
  from.text("name", m.name, max_text);
  from.count("layers", m.layers);
  from.count("experts", m.experts_per_layer);
  from.count("expert_bytes", m.expert_bytes);
  from.count("capacity", m.capacity_bytes);
  from.boolean("complete", m.complete);
  from.boolean("home", m.home);
  real(from, "expert_us", m.speed.expert_us);
  real(from, "row_us", m.speed.row_us);
  check_shape(from, m);
  auto hash = bytes_of(from, "hash", m.hash.size());
  auto holds = bytes_of(from, "holds", max_items / 8);
  m.popularity = bytes_of(from, "popularity", max_items);
  real(from, "layer_us", m.dense.layer_us);
  real(from, "layer_row_us", m.dense.layer_row_us);
  real(from, "head_us", m.dense.head_us);
  real(from, "tokens_s", m.tokens_per_s);
  real(from, "sessions", m.sessions);
  uint32_t chunks = 0;
  from.count("chunks", chunks);
  auto has_chunks = bytes_of(from, "has_chunks", max_items / 8);
  size_t items = size_t{m.layers} * m.experts_per_layer;
  if (!from.problem() && (hash.size() != m.hash.size() || !bitmap::fits(items, holds) ||
                          !bitmap::fits(chunks, has_chunks) ||
                          (!m.popularity.empty() && m.popularity.size() != items)))
    from.fail(ec::bad_frame,
              "a record's 'hash', 'holds', 'has_chunks' or 'popularity' has the wrong size");
  problem = from.problem();
  if (problem)
    return;
  std::memcpy(m.hash.data(), hash.data(), hash.size());
  m.holds = bitmap(items, std::move(holds));
  m.chunks = bitmap(chunks, std::move(has_chunks));
  const auto* reads = from.find("reads"); // older nodes do not say
  m.reads = reads && reads->type == msgpack::type::BOOLEAN && reads->via.boolean;
  const auto* plan = from.find("plan");
  if (plan && plan->type != msgpack::type::MAP)
    problem = error{ec::bad_frame, "a record's 'plan' is not a map"};
  else if (plan)
    read_plan(field_reader(*plan), m.plan, items, m.layers, problem);
}

void read_neighbour(field_reader from, neighbour_record& n, std::optional<error>& problem) {
  from.text("key", n.key, max_text);
  from.count("rtt_us", n.round_trip_us);
  from.count("goodput", n.goodput_bytes_s);
  problem = from.problem();
}

} // namespace

std::vector<std::byte> pack_node_record(const node_record& r) {
  msgpack::sbuffer buffer;
  packer to(buffer);
  to.pack_map(9);
  put(to, "version"), to.pack(r.version);
  put(to, "name"), to.pack(r.name);
  put(to, "apps"), to.pack(r.app_endpoints);
  put(to, "draining"), to.pack(r.draining);
  put(to, "ram"), to.pack(r.ram_bytes);
  put(to, "ram_used"), to.pack(r.ram_used_bytes);
  put(to, "expert_memory"), to.pack(r.expert_memory_bytes);
  put(to, "models"), to.pack_array(static_cast<uint32_t>(r.models.size()));
  for (const auto& m : r.models)
    put_model(to, m);
  put(to, "neighbours"), to.pack_array(static_cast<uint32_t>(r.neighbours.size()));
  for (const auto& n : r.neighbours)
    put_neighbour(to, n);
  const auto* first = reinterpret_cast<const std::byte*>(buffer.data());
  return {first, first + buffer.size()};
}

result<node_record> unpack_node_record(std::span<const std::byte> bytes) {
  std::string_view frame(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  auto map = unpack_map(frame, {64u << 20, 8, 64, 1u << 16});
  if (!map)
    return map.err();
  field_reader from(map->get());
  node_record r;
  from.count("version", r.version);
  from.text("name", r.name, max_text);
  from.texts("apps", r.app_endpoints, max_endpoints, max_text);
  from.boolean("draining", r.draining);
  from.count("ram", r.ram_bytes);
  from.count("ram_used", r.ram_used_bytes);
  from.count("expert_memory", r.expert_memory_bytes);
  read_list(from, "models", max_models, r.models, read_model);
  read_list(from, "neighbours", max_neighbours, r.neighbours, read_neighbour);
  if (from.problem())
    return *from.problem();
  return r;
}

} // namespace coel::net
