// The demo model with a part of its experts in memory, asked as an application's session asks. The
// file is the test's own, and what its reads bring is what the test says.
#pragma once

#include "../model/disk_files.hpp"
#include "actors/errors.hpp"
#include "actors/hosting.hpp"
#include "actors/node.hpp"
#include "actors/session.hpp"
#include "actors/tier.hpp"
#include "actors/tier_plan.hpp"
#include "cpu/device.hpp"
#include "model/runner.hpp"
#include "model/sampler.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <future>
#include <thread>

namespace coel::actors::test {

using namespace std::chrono_literals;

constexpr auto patience = 30s;

/// What becomes of the reads of a node, as the test changes it.
struct disk_mood {
  std::mutex lock;
  std::function<int64_t(int64_t)> tell; ///< empty: the truth
  std::vector<uint64_t> begun;          ///< offsets of reads

  void is(std::function<int64_t(int64_t)> what) {
    std::lock_guard hold(lock);
    tell = std::move(what);
  }
  int64_t told(int64_t truth) {
    std::unique_lock hold(lock);
    auto what = tell;
    hold.unlock();
    return what ? what(truth) : truth;
  }
  void begins(const model::raw_read& r) {
    std::lock_guard hold(lock);
    begun.push_back(r.offset);
  }
  std::vector<uint64_t> take_begun() {
    std::lock_guard hold(lock);
    return std::exchange(begun, {});
  }
};

class moody_engine : public model::read_engine {
 public:
  moody_engine(uint32_t depth, finished done, std::shared_ptr<disk_mood> mood)
      : mood_(mood),
        real_(depth, std::move(done), [mood](int64_t truth) { return mood->told(truth); }) {}
  const char* name() const override { return "moody"; }
  void read(const model::raw_read& what) override {
    mood_->begins(what);
    real_.read(what);
  }

 private:
  std::shared_ptr<disk_mood> mood_;
  model::test::lying_engine real_;
};

struct spoken {
  std::vector<int32_t> tokens;
  std::optional<error> failure;
};

/// What a session answered.
class listener {
 public:
  void take(const app_answer& a) {
    std::lock_guard hold(lock_);
    if (const auto* token = std::get_if<token_reply>(a.reply.get())) {
      if (token->id >= 0)
        said_.tokens.push_back(token->id);
      changed_.notify_all();
    } else if (const auto* failed = std::get_if<error>(a.reply.get())) {
      said_.failure = *failed;
      end();
    } else if (std::holds_alternative<done_reply>(*a.reply)) {
      end();
    }
  }
  spoken wait() {
    BOOST_REQUIRE(ended_.get_future().wait_for(patience) == std::future_status::ready);
    std::lock_guard hold(lock_);
    return said_;
  }
  void wait_for_tokens(size_t n) {
    std::unique_lock hold(lock_);
    bool came =
        changed_.wait_for(hold, patience, [&] { return over_ || said_.tokens.size() >= n; });
    BOOST_REQUIRE_MESSAGE(came && said_.tokens.size() >= n,
                          (said_.failure ? said_.failure->message : "no token came"));
  }

 private:
  void end() {
    if (!std::exchange(over_, true))
      ended_.set_value();
    changed_.notify_all();
  }
  std::mutex lock_;
  std::condition_variable changed_;
  spoken said_;
  bool over_ = false;
  std::promise<void> ended_;
};

struct system_config : caf::actor_system_config {
  system_config() { configure(*this); }
};

struct tier_world {
  model::test::disk_folder folder;
  std::filesystem::path file = folder.path / "tiny.gguf";
  std::filesystem::path read_from = file; ///< where experts come from
  std::shared_ptr<disk_mood> mood = std::make_shared<disk_mood>();
  system_config config;
  caf::actor_system system{config};
  compute::device_ptr device = *cpu::make_device({2, "", 0, false});
  hosted_model hosted;
  tier_actor ram;
  hosted_models_ptr registry = std::make_shared<hosted_models>();
  uint64_t requests = 0;
  std::vector<std::string> notes;

  tier_world() {
    std::filesystem::copy_file(COEL_SOURCE_DIR "/models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf",
                               file);
  }
  ~tier_world() { stop_all(); }

  /// From now on experts come from a store beside the file.
  void pack() {
    read_from = model::usual_store_path(file);
    auto made = model::write_expert_store(*model::open_model(file), *compute::layout_of(*device), read_from,
                                          {2, {}});
    BOOST_REQUIRE_MESSAGE(made.ok(), (made ? "" : made.err().message));
  }
  bool can_pack() const { return compute::layout_of(*device) != nullptr; }

  /// Serves the file with that share of its experts in memory. Errors: those of a node's start.
  result<void> serve(double share) {
    tiering_choice choice;
    choice.expert_share = share;
    return serve(choice);
  }
  result<void> serve(tiering_choice choice) {
    stop_all();
    auto m = open_served_model(file, "tiny", device);
    if (!m)
      return m.err();
    choice.state_folder = folder.path;
    choice.stores.beside = {model::usual_store_path(file)};
    choice.hosting.kv_bytes = uint64_t{8} << 20;
    auto plan = plan_tiers({*m}, choice);
    if (!plan)
      return plan.err();
    BOOST_REQUIRE(plan->any);
    notes = plan->notes;
    (*m)->tiered->engine = [mood = mood](uint32_t depth, model::read_engine::finished done) {
      return std::make_unique<moody_engine>(depth, std::move(done), mood);
    };
    tier_config budget;
    budget.budget_bytes = plan->budget_bytes;
    budget.used_before[static_cast<size_t>(memory_kind::weights)] = (*m)->dense.bytes;
    budget.used_before[static_cast<size_t>(memory_kind::buffers)] = plan->other_bytes;
    ram = system.spawn(tier, budget);
    choice.hosting.kv_bytes = (*m)->tiered->plan.kv_bytes;
    auto made = host_alone(system, *m, ram, choice.hosting);
    if (!made)
      return made.err();
    hosted = std::move(*made);
    return warm_experts(system, hosted, ram, {});
  }

  void stop_all() {
    if (!ram)
      return;
    stop(hosted);
    caf::scoped_actor self{system};
    self->monitor(ram);
    int due = 1;
    if (auto learns = hosted.model ? hosted.model->tiered->foreseer : foreseer_actor{}) {
      self->monitor(learns);
      ++due;
    }
    hosted = hosted_model{};
    caf::anon_send_exit(ram, caf::exit_reason::user_shutdown);
    ram = tier_actor{};
    for (; due > 0; --due)
      self->receive([](const caf::down_msg&) {});
  }

  std::shared_ptr<listener> begin(std::vector<int32_t> prompt, uint32_t n,
                                  session_actor* who = nullptr) {
    auto hears = std::make_shared<listener>();
    answer_sink sink = system.spawn([hears]() -> answer_sink::behavior_type {
      return {[hears](const app_answer& a) { hears->take(a); }};
    });
    generate_request r;
    r.tokens = std::move(prompt);
    r.max_tokens = n;
    r.ignore_end = true;
    r.sampling.temperature = 0;
    app_call call{0, ++requests, std::make_shared<const app_request>(std::move(r))};
    auto started = system.spawn(
        session, session_config{registry, std::move(call), hosted.model, hosted.scheduler, sink});
    if (who)
      *who = started;
    return hears;
  }
  spoken ask(std::vector<int32_t> prompt, uint32_t n) {
    return begin(std::move(prompt), n)->wait();
  }

  tier_status status() {
    caf::scoped_actor self{system};
    tier_status out;
    self->request(ram, patience, atom::details::value)
        .receive([&](const tier_status& s) { out = s; },
                 [](caf::error&) { BOOST_FAIL("the tier does not answer"); });
    return out;
  }
  tiering_status tiering() { return status().models.at(0); }

  /// Tokens of a text, and what they make of it with everything in memory.
  std::vector<int32_t> tokens_of(const std::string& text) const {
    auto source = *model::open_model(file);
    return (*model::make_tokenizer(source->vocabulary()))->encode(text, true, true);
  }
  std::vector<int32_t> in_memory(std::vector<int32_t> prompt, uint32_t n) const {
    auto run = model::runner::load(*model::open_model(file), device, {256, 64, 16});
    BOOST_REQUIRE(run.ok());
    std::vector<int32_t> out;
    auto& plain = **run;
    for (auto logits = plain.feed(prompt); out.size() < n;
         logits = plain.feed(std::span(out).last(1))) {
      BOOST_REQUIRE(logits.ok());
      out.push_back(
          static_cast<int32_t>(std::max_element(logits->begin(), logits->end()) - logits->begin()));
    }
    return out;
  }
};

} // namespace coel::actors::test
