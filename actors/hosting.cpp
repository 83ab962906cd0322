#include "actors/hosting.hpp"

#include "actors/errors.hpp"
#include "actors/expert.hpp"
#include "actors/gate.hpp"
#include "actors/head.hpp"
#include "actors/helper.hpp"
#include "actors/keeper.hpp"
#include "actors/recorder.hpp"
#include "actors/runner.hpp"
#include "actors/scheduler.hpp"
#include "actors/stage.hpp"
#include "model/card_needs.hpp"
#include "model/quoted.hpp"
#include "policy/card_budget.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <deque>

namespace coel::actors {

namespace {

constexpr uint32_t page_tokens = 32;
constexpr uint32_t max_logits = 64;

compute::kv_shape kv_shape_for(const model::model_config& c, uint64_t bytes) {
  compute::kv_shape shape{c.layers, c.kv_heads, c.head_dim, page_tokens, 0};
  uint32_t whole = policy::pages_for(c.context, page_tokens);
  // By default room for one full context, and for more of them while that is cheap.
  constexpr uint64_t cheap = uint64_t{1} << 30;
  uint64_t pages = bytes ? bytes / shape.page_bytes()
                         : std::max<uint64_t>(whole, std::min<uint64_t>(cheap / shape.page_bytes(),
                                                                        16ull * whole));
  shape.pages = static_cast<uint32_t>(std::min<uint64_t>(pages, UINT32_MAX));
  return shape;
}

/// Of a tier's budget; what is not kept returns.
class reservations {
 public:
  reservations(caf::actor_system& system, tier_actor ram) : self_(system), ram_(std::move(ram)) {}
  ~reservations() {
    for (const auto& [kind, bytes] : taken_)
      self_->send(ram_, atom::release::value, kind, bytes);
  }

  result<void> take(memory_kind kind, uint64_t bytes) {
    result<void> outcome;
    self_->request(ram_, caf::infinite, atom::reserve::value, kind, bytes)
        .receive([&](bool) { taken_.emplace_back(kind, bytes); },
                 [&](caf::error& why) { outcome = from_caf(why); });
    return outcome;
  }
  void keep() { taken_.clear(); }

 private:
  caf::scoped_actor self_;
  tier_actor ram_;
  std::vector<std::pair<memory_kind, uint64_t>> taken_;
};

/// Where the device has memory to itself: of that in which KV and dense weights must be.
uint64_t first_free(const compute::device& device) {
  auto own = device.status().own_memory;
  if (!own)
    return UINT64_MAX;
  return own->first_budget_bytes - std::min(own->first_budget_bytes, own->first_used_bytes);
}

/// Of memory that the device has to itself, KV takes a part.
void spare_near(caf::actor_system& system, const served_model& m, uint32_t rows,
                compute::kv_shape& shape) {
  if (!m.near)
    return;
  uint32_t whole = policy::pages_for(m.config().context, page_tokens);
  caf::scoped_actor self(system);
  self->request(m.near->tier(), caf::infinite, atom::details::value)
      .receive(
          [&](const tier_status& now) {
            auto free = std::min(now.budget_bytes - std::min(now.budget_bytes, now.used_bytes),
                                 first_free(*m.device));
            free -= std::min(free, m.near->shared_due() +
                                       model::card_step_bytes(m.config(), rows, max_logits));
            shape.pages = policy::card_kv_pages(free, shape.page_bytes(), shape.pages, whole);
          },
          [](caf::error&) {});
}

result<step_memory_ptr> make_memory(const served_model_ptr& m, const compute::kv_shape& shape,
                                    uint32_t rows) {
  auto cache = m->device->make_kv_cache(shape);
  if (!cache)
    return cache.err();
  auto buffers = model::make_step_buffers(m->config(), *m->device, rows, max_logits);
  if (!buffers)
    return buffers.err();
  return std::make_shared<const step_memory>(step_memory{m, *buffers, *cache});
}

/// In the file, of experts [first, end) of all layers.
uint64_t expert_bytes(const served_model& m, uint32_t first, uint32_t end) {
  uint64_t sum = 0;
  for (uint32_t l = 0; l < m.config().layers; ++l)
    for (uint32_t e = first; e < end; ++e)
      if (auto b = model::expert_file_bytes(*m.source,
                                            {static_cast<layer_id>(l), static_cast<expert_id>(e)}))
        sum += *b;
  return sum;
}

/// Where experts will have to be copied over for a step, they need a place to go to.
void leave_room_for_copies(caf::actor_system& system, const served_model& m) {
  if (!m.near)
    return;
  caf::scoped_actor self(system);
  uint64_t free = 0, routed = expert_bytes(m, 0, m.config().experts);
  self->request(m.near->tier(), caf::infinite, atom::details::value)
      .receive(
          [&](const tier_status& now) {
            free = now.budget_bytes -
                   std::min(now.budget_bytes, now.used_bytes + m.near->shared_due());
          },
          [](caf::error&) {});
  auto room = policy::room_for_copies(free, routed, m.config().layers);
  if (room)
    self->request(m.near->tier(), caf::infinite, atom::reserve::value, memory_kind::buffers, room)
        .receive([](bool) {}, [](caf::error&) {});
}

uint64_t used_near(const compute::device& device) {
  auto own = device.status().own_memory;
  return own ? own->used_bytes : 0;
}

/// No step may be refused for want of working memory when experts have taken the rest.
result<void> set_aside(const served_model& m, reservations& budget, uint32_t rows) {
  if (!m.near)
    return {};
  auto bytes = model::working_bytes(m.config(), rows, max_logits);
  if (auto ok = budget.take(memory_kind::buffers, bytes + model::table_bytes(m.config())); !ok)
    return ok;
  auto before = used_near(*m.device);
  if (auto ok = m.device->reserve(bytes); !ok)
    return ok;
  auto taken = used_near(*m.device) - before; // of several cards each has some
  return taken > bytes ? budget.take(memory_kind::buffers, taken - bytes) : result<void>();
}

void spawn_layers(caf::actor_system& system, hosted_model& to, const tier_actor& ram,
                  const hosting_config& config, const route_view_ptr& view) {
  const auto& m = to.model;
  for (uint32_t l = 0; l < m->config().layers; ++l) {
    gate_config gate_of{m,  static_cast<layer_id>(l), this_node,         view,
                        {}, config.missing_patience,  config.expert_bias};
    for (uint32_t e = 0; e < m->experts_per_layer; ++e) {
      expert_key key{static_cast<layer_id>(l), static_cast<expert_id>(e)};
      auto type = model::expert_type(*m->source, key);
      const auto& home = e < m->config().experts ? ram : pinned_tier(*m, ram);
      gate_of.experts.push_back(
          system.spawn(expert, expert_config{m, key, type ? *type : dtype::f32, home}));
    }
    to.experts.insert(to.experts.end(), gate_of.experts.begin(), gate_of.experts.end());
    to.gates.push_back(system.spawn(gate, std::move(gate_of)));
  }
  to.head = system.spawn(head, head_config{m, this_node, view});
  to.helper = system.spawn(helper, helper_config{m, this_node, to.experts});
  if (!m->near)
    return;
  keeper_config keeps;
  keeps.model = m;
  keeps.experts = to.experts;
  keeps.share = config.near_share;
  to.keeper = system.spawn(keeper, std::move(keeps));
  to.parts.push_back(to.keeper);
}

route_view_ptr nobody(const served_model& m) {
  policy::routing_table table(m.config().layers, m.experts_per_layer, {}, 0);
  return std::make_shared<route_view>(route_view{std::move(table), {}});
}

/// Layers of neighbours' sessions run beside the node's own steps, in memory of their own. Without
/// room for it the node is a home all the same.
void add_stage(caf::actor_system& system, hosted_model& to, const tier_actor& ram) {
  const auto& c = to.model->config();
  reservations budget(system, pinned_tier(*to.model, ram));
  if (!budget.take(memory_kind::buffers, stage_buffer_bytes(c)))
    return;
  auto buffers = model::make_step_buffers(c, *to.model->device, most_stage_rows, 1);
  if (!buffers)
    return;
  budget.keep();
  auto layers = system.spawn(runner, runner_config{to.model, to.gates});
  stage_config how;
  how.model = to.model;
  how.runner = layers;
  how.scheduler = to.scheduler;
  how.memory = std::make_shared<const step_memory>(step_memory{to.model, *buffers, to.cache});
  how.context = c.context;
  how.page_tokens = page_tokens;
  how.pages = to.cache->shape().pages;
  how.view = nobody(*to.model);
  to.stage = system.spawn(stage, std::move(how));
  to.parts.push_back(layers);
  to.parts.push_back(to.stage);
}

/// The same model without what every token needs: experts alone do not ask for it.
served_model_ptr without_dense(const served_model& m) {
  auto lean = std::make_shared<served_model>(m);
  lean->dense = {};
  lean->pool = nullptr; // only homes read
  *lean->resident_bytes -= m.dense.bytes;
  return lean;
}

result<recorder_actor> start_recorder(caf::actor_system& system, const model::model_config& c,
                                      const std::filesystem::path& path) {
  if (path.empty())
    return recorder_actor{};
  auto file = open_routing_file(path, {c.layers, c.experts, c.top_k});
  if (!file)
    return file.err();
  return system.spawn<caf::detached>(recorder, *file);
}

/// Said before anything is loaded: how much is needed is of more use than what did not fit.
result<void> room_for_pinned(const model::source& source, compute::device& device) {
  auto own = device.status().own_memory;
  if (!own)
    return {};
  auto needs = model::card_needs_of(source, {});
  if (!needs)
    return needs.err();
  // The least; tiers account for what is wanted.
  uint64_t weights = policy::card_pinned(*needs), rest = policy::least_on_card(*needs) - weights;
  uint64_t free = first_free(device);
  auto mib = [](uint64_t n) { return std::to_string((n + (1 << 20) - 1) >> 20) + " MiB"; };
  if (weights + rest <= free)
    return {};
  return {ec::out_of_memory, source.config().name + ": what every token uses takes " +
                                 mib(weights) + " of the card's memory, with " + mib(rest) +
                                 " for KV and steps, but only " + mib(free) + " of " +
                                 mib(own->first_budget_bytes) + " are free: give --gpu at least " +
                                 mib(weights + rest + own->first_used_bytes) +
                                 ", lower --kv or --rows, or leave --gpu out"};
}

} // namespace

void use_near(served_model& model, const hosting_config& config) {
  if (config.near)
    model.near = std::make_shared<near_memory>(
        config.near, model.config().layers, model.config().experts,
        model.experts_per_layer - model.config().experts,
        expert_bytes(model, model.config().experts, model.experts_per_layer));
}

const tier_actor& pinned_tier(const served_model& model, const tier_actor& ram) {
  return model.near ? model.near->tier() : ram;
}

uint64_t stage_buffer_bytes(const model::model_config& config) {
  return model::step_buffer_bytes(config, most_stage_rows, 1);
}

result<std::shared_ptr<served_model>> open_served_model(const std::filesystem::path& path,
                                                        std::string name,
                                                        const compute::device_ptr& device,
                                                        bool helper_only) {
  auto source = model::open_model(path);
  if (!source)
    return source.err();
  return serve_source(*source, std::move(name), device, helper_only);
}

result<std::shared_ptr<served_model>> serve_source(const model::source_ptr& source,
                                                   std::string name,
                                                   const compute::device_ptr& device,
                                                   bool helper_only) {
  auto tokenizer = model::make_tokenizer(source->vocabulary());
  if (!tokenizer)
    return {tokenizer.err().code,
            source->info().files.front().string() + ": " + tokenizer.err().message};
  if (auto room = room_for_pinned(*source, *device); !helper_only && !room)
    return room.err();
  auto dense = helper_only ? result(model::dense_weights{}) : model::load_dense(*source, *device);
  if (!dense)
    return dense.err();
  auto m = std::make_shared<served_model>();
  m->name = name.empty() ? source->config().name : std::move(name);
  m->source = source;
  m->device = device;
  m->tokenizer = *tokenizer;
  m->dense = std::move(*dense);
  m->chat = model::detect_chat_style(source->vocabulary());
  m->experts_per_layer = model::experts_per_layer(*source);
  m->costs = std::make_shared<cost_book>(m->config().hidden);
  *m->resident_bytes = m->dense.bytes;
  return m;
}

result<hosted_model> host_model(caf::actor_system& system, const served_model_ptr& model,
                                const tier_actor& ram, const hosting_config& config,
                                route_view_ptr view) {
  const auto& c = model->config();
  model->costs->choose_by(config.replica_choice);
  auto shape = kv_shape_for(c, config.kv_bytes);
  auto rows = std::min(config.max_rows, c.context);
  if (!config.kv_bytes)
    spare_near(system, *model, rows, shape);
  reservations budget(system, pinned_tier(*model, ram));
  if (auto ok = budget.take(memory_kind::kv, shape.page_bytes() * shape.pages); !ok)
    return ok.err();
  if (auto ok = budget.take(memory_kind::buffers, model::step_buffer_bytes(c, rows, max_logits));
      !ok)
    return ok.err();
  if (auto ok = set_aside(*model, budget, rows); !ok)
    return ok.err();
  auto memory = make_memory(model, shape, rows);
  if (!memory)
    return memory.err();
  auto record = start_recorder(system, c, config.record_routing);
  if (!record)
    return record.err();
  budget.keep();
  leave_room_for_copies(system, *model);
  hosted_model made{model, {}, {}, {}, {}, {}, *record};
  made.cache = (*memory)->cache;
  spawn_layers(system, made, ram, config, view);
  policy::batching_limits batching{rows, std::min(config.slice_rows, rows), max_logits};
  policy::admission_limits admission{c.context, page_tokens, shape.pages,
                                     std::min(config.max_sessions, max_logits), config.max_queue};
  auto layers = system.spawn(runner, runner_config{model, made.gates});
  made.parts.push_back(layers);
  made.scheduler = system.spawn(
      scheduler, scheduler_config{model, layers, made.head, *memory, batching, admission, *record});
  return made;
}

result<hosted_model> host_alone(caf::actor_system& system, const served_model_ptr& model,
                                const tier_actor& ram, const hosting_config& config) {
  policy::routing_table here(model->config().layers, model->experts_per_layer, this_node);
  return host_model(system, model, ram, config,
                    std::make_shared<route_view>(route_view{std::move(here), {}}));
}

result<hosted_model> host_in_cluster(caf::actor_system& system, const served_model_ptr& model,
                                     const tier_actor& ram, const hosting_config& config) {
  auto made = config.helper_only ? result<hosted_model>(ec::helper_only, "it was started so")
                                 : host_model(system, model, ram, config, nobody(*model));
  if (made)
    add_stage(system, *made, ram);
  if (made || (made.err().code != ec::out_of_memory && !config.helper_only))
    return made;
  caf::anon_send(pinned_tier(*model, ram), atom::release::value, memory_kind::weights,
                 model->dense.bytes);
  return host_helper(system, model, ram, config, made.err());
}

hosted_model host_helper(caf::actor_system& system, const served_model_ptr& model,
                         const tier_actor& ram, const hosting_config& config, const error& why) {
  hosted_model made{model->dense.bytes ? without_dense(*model) : model, {}, {}, {}, {}, {}, {}};
  made.no_home = why.message;
  spawn_layers(system, made, ram, config, nobody(*model));
  return made;
}

std::string helper_event(const hosted_model& hosted) {
  return "helper model=" + model::in_quotes(hosted.model->name) + " why='" +
         model::printable(hosted.no_home, 400) + "'"; // it ends in what to do
}

result<void> load_experts(caf::actor_system& system, const hosted_model& hosted,
                          const load_progress& progress) {
  const auto& m = *hosted.model;
  const auto& experts = hosted.experts;
  caf::scoped_actor self{system};
  uint64_t bytes = 0, total = 0;
  for (size_t i = 0; i < experts.size(); ++i)
    total +=
        *model::expert_file_bytes(*m.source, {static_cast<layer_id>(i / m.experts_per_layer),
                                              static_cast<expert_id>(i % m.experts_per_layer)});
  std::optional<error> problem;
  if (hosted.keeper)
    self->request(hosted.keeper, caf::infinite, atom::load::value)
        .receive([](uint64_t) {}, [&](caf::error& why) { problem = from_caf(why); });
  // A window keeps the queue of the tier short.
  constexpr size_t window = 16;
  size_t asked = 0;
  std::deque<std::function<void()>> waiting;
  auto ask = [&] {
    auto handle =
        std::make_shared<decltype(self->request(experts[0], caf::infinite, atom::load::value))>(
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
    return {problem->code, m.name + ": " + problem->message};
  return {};
}

void stop(const hosted_model& hosted) {
  auto end = [](const auto& actor) {
    if (actor)
      caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
  };
  end(hosted.scheduler);
  for (const auto& part : hosted.parts)
    end(part);
  end(hosted.recorder);
  end(hosted.helper);
  end(hosted.head);
  for (const auto& g : hosted.gates)
    end(g);
  for (const auto& e : hosted.experts)
    end(e);
}

} // namespace coel::actors
