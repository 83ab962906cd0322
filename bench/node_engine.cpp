#include "actors/errors.hpp"
#include "actors/node.hpp"
#include "actors/session.hpp"
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

generate_request greedy_request(std::vector<int32_t> prompt, uint32_t tokens) {
  generate_request r;
  r.tokens = std::move(prompt);
  r.max_tokens = tokens;
  r.ignore_end = true;
  r.sampling.temperature = 0;
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
      auto request = std::make_shared<const app_request>(greedy_request(prompts[i], tokens));
      actors::app_call call{0, i, std::move(request)};
      system_.spawn(actors::session,
                    actors::session_config{node_->registry(), std::move(call), served.model,
                                           served.scheduler, sink});
    }
    auto outcome = done.get();
    if (!outcome)
      return outcome.err();
    return answers->times();
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
  caf::actor_system_config config_;
  caf::actor_system system_;
  std::unique_ptr<actors::node> node_;
};

} // namespace

result<node_engines> make_node_engines(const engine_needs& needs, const load_progress& progress) {
  auto node = std::make_unique<node_engine>();
  if (auto ok = node->start(needs, progress); !ok)
    return ok.err();
  auto plain = node->plain(needs);
  if (!plain)
    return plain.err();
  return node_engines{std::move(node), std::move(*plain)};
}

} // namespace coel::bench
