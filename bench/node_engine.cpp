#include "actors/errors.hpp"
#include "actors/node.hpp"
#include "actors/session.hpp"
#include "actors/tiering.hpp"
#include "bench/plain_engine.hpp"

#include <caf/all.hpp>

#include <chrono>
#include <future>
#include <mutex>
#include <unistd.h>

namespace coel::bench {

namespace {

using clock = std::chrono::steady_clock;

double seconds(clock::duration d) {
  return std::chrono::duration<double>(d).count();
}

/// Collects the answers of sessions that run at once; `done` is kept with the last of them.
class collector {
 public:
  explicit collector(size_t sessions)
      : times_(sessions), first_(sessions), start_(clock::now()), due_(sessions) {}

  void take(const actors::app_answer& answer) {
    auto now = clock::now();
    std::lock_guard hold(lock_);
    size_t i = answer.id;
    if (std::holds_alternative<token_reply>(*answer.reply)) {
      if (first_[i] != clock::time_point{})
        return;
      first_[i] = now;
      times_[i].prompt_s = seconds(now - start_);
    } else if (const auto* last = std::get_if<done_reply>(answer.reply.get())) {
      times_[i].decode_s = seconds(now - first_[i]);
      times_[i].decoded = last->answer_tokens - 1;
      ended({});
    } else if (const auto* problem = std::get_if<error>(answer.reply.get())) {
      ended(*problem);
    }
  }

  std::future<result<void>> done() { return done_.get_future(); }
  const std::vector<run_times>& times() const { return times_; }

 private:
  void ended(result<void> outcome) {
    if (!outcome && outcome_)
      outcome_ = std::move(outcome);
    if (--due_ == 0)
      done_.set_value(outcome_);
  }

  std::mutex lock_;
  std::vector<run_times> times_;
  std::vector<clock::time_point> first_;
  clock::time_point start_;
  size_t due_;
  result<void> outcome_;
  std::promise<result<void>> done_;
};

generate_request request_for(std::vector<int32_t> prompt, uint32_t tokens, bool drawn,
                             uint64_t seed) {
  generate_request r;
  r.tokens = std::move(prompt);
  r.max_tokens = tokens;
  r.ignore_end = true;
  r.sampling.temperature = 0;
  if (drawn) { // of a few thousand, because to sort a whole vocabulary takes long
    r.sampling.temperature = 100;
    r.sampling.top_k = 4096;
    r.sampling.top_p = 1;
    r.sampling.seed = seed;
  }
  return r;
}

class node_engine : public engine {
 public:
  static caf::actor_system_config& configured(caf::actor_system_config& config) {
    actors::configure(config);
    return config;
  }
  node_engine() : system_(configured(config_)) {}

  result<void> start(const engine_needs& needs, const load_progress& progress) {
    auto from = model::open_model(needs.model);
    if (!from)
      return from.err();
    const auto& c = (*from)->config();
    compute::kv_shape pages{c.layers, c.kv_heads, c.head_dim, 32, 0};
    auto pages_each = (needs.context + pages.page_tokens - 1) / pages.page_tokens;
    actors::node_config config;
    config.models = {{needs.model, ""}};
    config.hosting.kv_bytes = pages.page_bytes() * pages_each * needs.sessions;
    config.hosting.max_sessions = needs.sessions;
    config.ram_bytes = needs.ram_bytes;
    config.expert_share = needs.expert_share;
    config.stores = needs.stores;
    config.lower = needs.lower;
    config.join.event = needs.event;
    config.hosting.near_share = needs.card_share;
    drawn_ = needs.drawn_answers;
    auto socket =
        std::filesystem::temp_directory_path() / ("coel-bench-" + std::to_string(::getpid()));
    config.server.endpoints = {"ipc://" + socket.string()};
    auto node = actors::node::start(system_, needs.on, config,
                                    [&](const std::string&, uint64_t done, uint64_t total) {
                                      if (progress)
                                        progress(done, total);
                                    });
    if (!node)
      return node.err();
    node_ = std::move(*node);
    return {};
  }

  result<std::vector<run_times>> generate(const std::vector<std::vector<int32_t>>& prompts,
                                          uint32_t tokens) override {
    auto answers = std::make_shared<collector>(prompts.size());
    auto done = answers->done();
    actors::answer_sink sink = system_.spawn([answers]() -> actors::answer_sink::behavior_type {
      return {[answers](const actors::app_answer& a) { answers->take(a); }};
    });
    const auto served = node_->models()->front();
    for (size_t i = 0; i < prompts.size(); ++i) {
      auto request =
          std::make_shared<const app_request>(request_for(prompts[i], tokens, drawn_, requests_++));
      actors::app_call call{0, i, std::move(request)};
      system_.spawn(actors::session, actors::session_config{node_->registry(), std::move(call),
                                                            served.model, served.scheduler, sink});
    }
    auto outcome = done.get();
    if (!outcome)
      return outcome.err();
    return answers->times();
  }

  bool all_fit() const { return !node_->models()->front().model->tiered; }

  std::optional<tier_use> tiers() override {
    const auto hosted = node_->models()->front();
    if (!hosted.model->tiered)
      return {};
    tier_use u;
    caf::scoped_actor self{system_};
    self->request(hosted.model->tiered->supplier, caf::infinite, actors::atom::details::value)
        .receive([&](const actors::tiering_status& s) { add(u, s); }, [](caf::error&) {});
    self->request(hosted.scheduler, caf::infinite, actors::atom::details::value)
        .receive([&](const actors::scheduler_status& s) { u.stall_us = s.network.stall_us; },
                 [](caf::error&) {});
    return u;
  }

  /// The plain loop over this node's weights. A lease of each expert holds them in place.
  result<engine_ptr> plain(const engine_needs& needs) {
    const auto hosted = node_->models()->front();
    const auto& m = *hosted.model;
    caf::scoped_actor self{system_};
    std::vector<std::vector<model::expert_ptr>> experts(m.config().layers);
    result<void> outcome;
    size_t i = 0;
    for (const auto& e : hosted.experts)
      self->request(e, caf::infinite, actors::atom::acquire::value, 0u)
          .receive(
              [&](actors::lease& held) {
                experts[i++ / m.experts_per_layer].push_back(held.weights);
              },
              [&](caf::error& why) { outcome = actors::from_caf(why); });
    if (!outcome)
      return outcome.err();
    auto run = model::runner::over(m.source, m.device, m.dense, std::move(experts),
                                   {needs.context, 512, 1});
    if (!run)
      return run.err();
    return engine_ptr(std::make_unique<plain_engine>(std::move(*run)));
  }

 private:
  static void add(tier_use& to, const actors::tiering_status& t) {
    for (const auto& l : t.layers) {
      to.uses += l.hits + l.foreseen + l.late + l.misses + l.lower;
      to.lower += l.lower;
      to.found += l.hits + l.foreseen;
      to.foreseen += l.foreseen;
      to.late += l.late;
      to.recall.resize(std::max(to.recall.size(), l.recall.size()));
      auto share = 1 / static_cast<double>(t.layers.size());
      for (size_t a = 0; a < l.recall.size(); ++a)
        to.recall[a] += l.recall[a] * share;
      to.layers_ahead += l.reads_ahead ? share : 0;
    }
    to.demand_us = t.demand_us;
    to.read_bytes = t.read_bytes;
    to.wasted_bytes = t.wasted_bytes;
    to.tokens = t.tokens;
    to.disk_bytes_per_s = t.disk_bytes_per_s;
  }

  bool drawn_ = false;
  caf::actor_system_config config_;
  caf::actor_system system_;
  std::unique_ptr<actors::node> node_;
  uint64_t requests_ = 0; ///< each draws differently
};

} // namespace

result<node_engines> make_node_engines(const engine_needs& needs, const load_progress& progress) {
  auto node = std::make_unique<node_engine>();
  if (auto ok = node->start(needs, progress); !ok)
    return ok.err();
  if (!node->all_fit())
    return node_engines{std::move(node), nullptr};
  auto plain = node->plain(needs);
  if (!plain)
    return plain.err();
  return node_engines{std::move(node), std::move(*plain)};
}

} // namespace coel::bench
