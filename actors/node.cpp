#include "actors/node.hpp"

#include "actors/errors.hpp"
#include "actors/expert.hpp"
#include "actors/gate.hpp"
#include "actors/recorder.hpp"
#include "actors/scheduler.hpp"
#include "actors/tier.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

constexpr uint32_t page_tokens = 32;
constexpr uint32_t max_logits = 64;
constexpr node_id this_node{0};

result<served_model_ptr> open(const model_choice& choice, const compute::device_ptr& device) {
  auto source = model::open_model(choice.path);
  if (!source)
    return source.err();
  auto tokenizer = model::make_tokenizer((*source)->vocabulary());
  if (!tokenizer)
    return {tokenizer.err().code, choice.path.string() + ": " + tokenizer.err().message};
  auto dense = model::load_dense(**source, *device);
  if (!dense)
    return dense.err();
  auto m = std::make_shared<served_model>();
  m->name = choice.name.empty() ? (*source)->config().name : choice.name;
  m->source = *source;
  m->device = device;
  m->tokenizer = *tokenizer;
  m->dense = std::move(*dense);
  m->chat = model::detect_chat_style((*source)->vocabulary());
  m->experts_per_layer = model::experts_per_layer(**source);
  m->costs = std::make_shared<cost_book>(m->config().hidden);
  return served_model_ptr(std::move(m));
}

compute::kv_shape kv_shape_for(const model::model_config& c, uint64_t bytes) {
  compute::kv_shape shape{c.layers, c.kv_heads, c.head_dim, page_tokens, 0};
  uint32_t whole = policy::pages_for(c.context, page_tokens);
  // By default room for one full context, and for more of them while that is cheap.
  constexpr uint64_t cheap = uint64_t{1} << 30;
  uint64_t pages = bytes ? bytes / shape.page_bytes()
                         : std::max<uint64_t>(whole, std::min<uint64_t>(cheap / shape.page_bytes(), 16ull * whole));
  shape.pages = static_cast<uint32_t>(std::min<uint64_t>(pages, UINT32_MAX));
  return shape;
}

} // namespace

void configure(caf::actor_system_config& config) {
  config.set("scheduler.policy", caf::atom("sharing"));       // stealing runs a fan-out one by one
  config.set("scheduler.max-threads", size_t{2});             // the device's threads do the work
  config.set("scheduler.max-throughput", size_t{8});          // a busy actor lets others in
}

template <class Handle>
Handle node::keep(Handle actor) {
  actors_.push_back(caf::actor_cast<caf::strong_actor_ptr>(actor));
  return actor;
}

result<std::unique_ptr<node>> node::start(caf::actor_system& system, compute::device_ptr device,
                                          const node_config& config, const load_progress& progress) {
  if (config.models.empty())
    return {ec::bad_argument, "no model given: coel-node --model FILE"};
  std::unique_ptr<node> made(new node(system));
  made->device_ = device;
  if (auto ok = made->load(config, device, progress); !ok)
    return ok.err();
  if (auto ok = made->serve(config, device); !ok)
    return ok.err();
  return made;
}

namespace {

/// Asks every expert to load and waits; the first failure ends the wait.
result<uint64_t> load_experts(caf::actor_system& system, const served_model& m,
                              const std::vector<expert_actor>& experts, const load_progress& progress) {
  caf::scoped_actor self{system};
  uint64_t bytes = 0, total = 0;
  for (size_t i = 0; i < experts.size(); ++i)
    total += *model::expert_file_bytes(*m.source, {static_cast<layer_id>(i / m.experts_per_layer),
                                                   static_cast<expert_id>(i % m.experts_per_layer)});
  std::optional<error> problem;
  // A window keeps the queue of the tier short.
  constexpr size_t window = 16;
  size_t asked = 0;
  std::deque<std::function<void()>> waiting;
  auto ask = [&] {
    auto handle = std::make_shared<decltype(self->request(experts[0], caf::infinite, atom::load::value))>(
        self->request(experts[asked++], caf::infinite, atom::load::value));
    waiting.push_back([&, handle] {
      handle->receive([&](uint64_t got) { bytes += got; },
                      [&](caf::error& why) {
                        if (!problem)
                          problem = from_caf(why);
                      });
    });
  };
  while (asked < std::min(window, experts.size()))
    ask();
  while (!waiting.empty()) {
    waiting.front()();
    waiting.pop_front();
    if (asked < experts.size() && !problem)
      ask();
    if (progress)
      progress(m.name, bytes, total);
  }
  if (problem)
    return *problem;
  return bytes;
}

} // namespace

result<void> node::load(const node_config& config, compute::device_ptr device, const load_progress& progress) {
  tier_config ram;
  ram.budget_bytes = config.ram_bytes;
  std::vector<served_model_ptr> models;
  for (const auto& choice : config.models) {
    auto m = open(choice, device);
    if (!m)
      return m.err();
    if (!ram.models.emplace((*m)->name, *m).second)
      return {ec::bad_argument, "two models are called '" + (*m)->name + "': name one with NAME=FILE"};
    ram.used_before[static_cast<size_t>(memory_kind::weights)] += (*m)->dense.bytes;
    models.push_back(*m);
  }
  ram_ = keep(system_.spawn(tier, std::move(ram)));
  for (const auto& m : models) {
    const auto& c = m->config();
    auto view = std::make_shared<route_view>(route_view{{c.layers, m->experts_per_layer, this_node}, {}});
    std::vector<expert_actor> all;
    inspected_model seen{m, {}, {}, m->dense.bytes};
    for (uint32_t l = 0; l < c.layers; ++l) {
      gate_config gate_of{m, static_cast<layer_id>(l), this_node, view, {}};
      for (uint32_t e = 0; e < m->experts_per_layer; ++e) {
        expert_key key{static_cast<layer_id>(l), static_cast<expert_id>(e)};
        auto type = model::expert_type(*m->source, key);
        gate_of.experts.push_back(keep(system_.spawn(expert, expert_config{m->name, key, type ? *type : dtype::f32, ram_})));
      }
      all.insert(all.end(), gate_of.experts.begin(), gate_of.experts.end());
      seen.gates.push_back(keep(system_.spawn(gate, std::move(gate_of))));
    }
    auto bytes = load_experts(system_, *m, all, progress);
    if (!bytes)
      return {bytes.err().code, m->name + ": " + bytes.err().message};
    seen.bytes += *bytes;
    inspected_.push_back(std::move(seen));
    experts_.push_back(std::move(all));
  }
  return {};
}

result<void> node::serve(const node_config& config, const compute::device_ptr& device) {
  caf::scoped_actor self{system_};
  auto reserve = [&](memory_kind kind, uint64_t bytes) -> result<void> {
    result<void> outcome;
    self->request(ram_, caf::infinite, atom::reserve::value, kind, bytes)
        .receive([](bool) {}, [&](caf::error& why) { outcome = from_caf(why); });
    return outcome;
  };
  for (auto& seen : inspected_) {
    const auto& c = seen.model->config();
    auto shape = kv_shape_for(c, config.kv_bytes);
    auto rows = std::min(config.max_rows, c.context);
    if (auto ok = reserve(memory_kind::kv, shape.page_bytes() * shape.pages); !ok)
      return ok;
    if (auto ok = reserve(memory_kind::buffers, model::step_buffer_bytes(c, rows, max_logits)); !ok)
      return ok;
    auto cache = device->make_kv_cache(shape);
    if (!cache)
      return cache.err();
    auto buffers = model::make_step_buffers(c, *device, rows, max_logits);
    if (!buffers)
      return buffers.err();
    buffers_.push_back(*buffers);
    caches_.push_back(*cache);
    recorder_actor record;
    if (!config.record_routing.empty()) {
      auto path = config.record_routing;
      if (inspected_.size() > 1)
        path += "." + seen.model->name;
      auto file = open_routing_file(path, {c.layers, c.experts, c.top_k});
      if (!file)
        return file.err();
      record = keep(system_.spawn<caf::detached>(recorder, *file));
    }
    policy::batching_limits batching{rows, std::min(config.slice_rows, rows), max_logits};
    policy::admission_limits admission{c.context, page_tokens, shape.pages, std::min(config.max_sessions, max_logits), config.max_queue};
    seen.scheduler = keep(system_.spawn(scheduler, scheduler_config{seen.model, seen.gates, *cache, *buffers, batching, admission, record}));
    served_.push_back({seen.model, seen.scheduler});
  }
  auto about = device->status();
  inspector_config inspected{{config.version, 0, about.name, about.threads, false, 0, 0}, inspected_, {ram_}, started_};
  auto inspects = keep(system_.spawn(inspector, std::move(inspected)));
  app_doorway door;
  auto server = net::app_server::start(config.server, door.handler());
  if (!server)
    return server.err();
  server_ = std::move(*server);
  socket_ = keep(system_.spawn(app_socket, app_socket_config{server_, served_, inspects, config.default_deadline_ms}));
  door.set(socket_);
  self->send(inspects, atom::begin::value, socket_);
  return {};
}

bool node::drain(std::chrono::milliseconds patience) {
  caf::scoped_actor self{system_};
  bool drained = false;
  self->request(socket_, patience, atom::drain::value)
      .receive([&](atom::drained) { drained = true; }, [](caf::error&) {});
  return drained;
}

const std::vector<std::string>& node::endpoints() const { return server_->endpoints(); }

node::~node() {
  if (server_)
    server_->stop();
  for (auto i = actors_.rbegin(); i != actors_.rend(); ++i)
    caf::anon_send_exit(*i, caf::exit_reason::user_shutdown);
  if (device_)
    (void)compute::run(*device_, {});   // behind whatever was still running
}

} // namespace coel::actors
