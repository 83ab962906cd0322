// A node whose device has memory of its own: an emulated card (slow, for tiny models), or processor
// kernels that pretend to be one (for all the rest), with the processor beside it.
#pragma once

#include "../gpu/emulated_card.hpp"
#include "actors/node.hpp"
#include "actors/node_device.hpp"
#include "cpu/device.hpp"
#include "gpu/device.hpp"
#include "model/runner.hpp"
#include "net/app_client.hpp"
#include "policy/routing_table.hpp"

#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <unistd.h>

namespace coel::test {

using namespace std::chrono_literals;

inline constexpr auto patience = 60s;

/// In the sources, or all in one folder on a machine without them.
inline std::filesystem::path model_in(const char* folder, const char* name) {
  const char* elsewhere = std::getenv("COEL_GOLDEN_DIR");
  return (elsewhere ? std::filesystem::path(elsewhere)
                    : std::filesystem::path(COEL_SOURCE_DIR) / folder) /
         name;
}
inline const std::filesystem::path demo_model =
    model_in("models/coel-tiny-moe", "coel-tiny-moe-q8_0.gguf");
inline std::filesystem::path nano_model() {
  return model_in("tests/golden/data", "nano-random-olmoe-f16.gguf");
}

/// A card in name: its memory has a budget, its kernels are the processor's.
class pretended_card : public compute::device {
 public:
  explicit pretended_card(uint64_t budget)
      : inner_(*cpu::make_device({1, "", budget, false})), budget_(budget) {}
  result<compute::weight_ptr> load(const compute::matrix_view& m,
                                   compute::weight_use use) override {
    if (auto fine = alive(); !fine)
      return fine.err();
    return inner_->load(m, use);
  }
  result<compute::buffer_ptr> allocate(size_t bytes, compute::memory where) override {
    return inner_->allocate(bytes, where);
  }
  result<compute::kv_cache_ptr> make_kv_cache(const compute::kv_shape& shape) override {
    return inner_->make_kv_cache(shape);
  }
  void write(void* to, const void* from, size_t bytes) override { inner_->write(to, from, bytes); }
  void read(void* to, const void* from, size_t bytes) override { inner_->read(to, from, bytes); }
  void submit(compute::command_list list, compute::completion done) override {
    go_on(std::make_shared<parts>(parts{std::move(list), std::move(done), 0, {}}));
  }
  uint32_t most_chosen_rows(const compute::expert_table&) const override { return 16; }
  compute::device_status status() const override {
    auto s = inner_->status();
    compute::own_memory_status own;
    own.name = "pretended";
    own.budget_bytes = budget_;
    own.used_bytes = s.resident_bytes;
    own.first_budget_bytes = own.budget_bytes;
    own.first_used_bytes = own.used_bytes;
    own.busy_us = s.busy_us;
    own.lost = lost;
    s.own_memory = own;
    return s;
  }

  std::atomic<bool> lost{false};

 private:
  result<void> alive() const {
    return lost ? result<void>(ec::device_lost, "the card is gone") : result<void>();
  }
  /// A processor is told which experts to run: a list ends where that must be known first.
  struct parts {
    compute::command_list list;
    compute::completion done;
    size_t next = 0;
    compute::completion_info told;
  };
  void go_on(const std::shared_ptr<parts>& p) {
    compute::command_list now;
    for (; !lost && p->next < p->list.size(); ++p->next) {
      const auto* chosen = std::get_if<compute::run_chosen>(&p->list[p->next]);
      if (chosen && !now.empty())
        break;
      now.push_back(chosen ? told(*chosen) : std::move(p->list[p->next]));
    }
    inner_->submit(std::move(now), [this, p](const compute::completion_info& info) {
      p->told.busy_us += info.busy_us;
      p->told.outcome = alive().ok() ? info.outcome : alive();
      if (p->told.outcome && p->next < p->list.size())
        go_on(p);
      else if (p->done)
        p->done(p->told);
    });
  }
  static compute::operation told(const compute::run_chosen& op) {
    compute::run_experts out{op.in, {}, op.out};
    size_t picks = size_t{op.in.rows} * op.top_k;
    for (auto& g : policy::group_by_expert({op.ids, picks}, {op.weights, picks}, op.in.rows,
                                           static_cast<uint32_t>(op.experts->size())))
      out.tasks.push_back({(*op.experts)[index(g.expert)], g.rows, g.weights, nullptr});
    return out;
  }

  compute::device_ptr inner_;
  uint64_t budget_;
};

struct system_config : caf::actor_system_config {
  system_config() { actors::configure(*this); }
};

inline actors::tier_status status_of(caf::actor_system& system, const actors::tier_actor& whom) {
  caf::scoped_actor self{system};
  actors::tier_status out;
  self->request(whom, patience, actors::atom::details::value)
      .receive([&](const actors::tier_status& s) { out = s; },
               [](caf::error&) { BOOST_FAIL("the tier does not answer"); });
  return out;
}

struct answer {
  std::vector<int32_t> tokens;
  std::optional<error> failure;
};

struct card_node {
  system_config config;
  caf::actor_system system{config};
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("coel-card-test-" + std::to_string(getpid()));
  std::unique_ptr<actors::node> node;

  ~card_node() {
    node.reset();
    std::filesystem::remove_all(folder);
  }

  /// Errors: those of a node's start.
  result<void> start(compute::device_ptr device, const std::filesystem::path& model,
                     actors::node_config c = {}) {
    node.reset();
    std::filesystem::create_directories(folder);
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
    c.models = {{model, "tiny"}};
    c.server.endpoints = {"ipc://" + (folder / "n.sock").string()};
    c.version = "test";
    if (!c.hosting.kv_bytes)
      c.hosting.kv_bytes = uint64_t{2} << 20;
    c.hosting.max_rows = std::min(c.hosting.max_rows, 64u);
    auto made = actors::node::start(system, std::move(device), c);
    if (!made)
      return made.err();
    node = std::move(*made);
    return {};
  }

  static void require(const result<void>& up) {
    BOOST_REQUIRE_MESSAGE(up.ok(), (up.ok() ? std::string() : up.err().message));
  }

  net::app_client client() {
    auto made = net::app_client::connect({node->endpoints().front(), {}, {}});
    BOOST_REQUIRE_MESSAGE(made.ok(), (made.ok() ? "" : made.err().message));
    return std::move(*made);
  }

  const actors::hosted_model& model() const { return node->models()->front(); }
  actors::near_memory& near() const { return *model().model->near; }

  template <class Whom, class... What>
  result<uint64_t> ask(const Whom& whom, What... what) {
    caf::scoped_actor self{system};
    result<uint64_t> out{ec::internal, "no answer"};
    self->request(whom, patience, what...)
        .receive([&](uint64_t n) { out = n; },
                 [&](caf::error& why) {
                   out = error{ec::unspecified, caf::to_string(why)};
                 });
    return out;
  }
  actors::tier_status card_tier() { return status_of(system, near().tier()); }
};

inline app_request greedy(std::vector<int32_t> prompt, uint32_t n) {
  generate_request r;
  r.tokens = std::move(prompt);
  r.max_tokens = n;
  r.ignore_end = true;
  r.sampling.temperature = 0;
  return r;
}

/// Of requests under way, in the order of `ids`.
inline std::vector<answer> collect(net::app_client& app, const std::vector<uint64_t>& ids) {
  std::vector<answer> all(ids.size());
  for (size_t left = ids.size(); left > 0;) {
    auto got = app.poll(patience);
    BOOST_REQUIRE(got.ok());
    BOOST_REQUIRE_MESSAGE(got->has_value(), "no reply in time");
    auto at = std::find(ids.begin(), ids.end(), (*got)->id);
    if (at == ids.end())
      continue;
    auto& a = all[static_cast<size_t>(at - ids.begin())];
    if (auto* token = std::get_if<token_reply>(&(*got)->reply)) {
      if (token->id >= 0)
        a.tokens.push_back(token->id);
    } else if (auto* failure = std::get_if<error>(&(*got)->reply)) {
      a.failure = *failure;
      --left;
    } else {
      left -= std::holds_alternative<done_reply>((*got)->reply);
    }
  }
  return all;
}

inline answer ask(net::app_client& app, const std::vector<int32_t>& prompt, uint32_t n) {
  auto id = app.send(greedy(prompt, n));
  BOOST_REQUIRE(id.ok());
  return collect(app, std::vector<uint64_t>{*id}).front();
}

/// What the inspector answers.
inline std::string document(net::app_client& app, const std::string& what) {
  inspect_request r;
  r.what = what;
  auto id = app.send(r);
  BOOST_REQUIRE(id.ok());
  for (;;) {
    auto got = app.poll(patience);
    BOOST_REQUIRE((got.ok() && got->has_value()));
    if ((*got)->id != *id)
      continue;
    const auto* d = std::get_if<document_reply>(&(*got)->reply);
    BOOST_REQUIRE(d);
    return d->json;
  }
}

/// What the processor alone makes of a prompt.
inline std::vector<int32_t> by_processor(const std::filesystem::path& file,
                                         const std::vector<int32_t>& prompt, uint32_t n) {
  auto device = *cpu::make_device({2, "", 0, false});
  auto run = *model::runner::load(*model::open_model(file), device, {256, 64, 16});
  std::vector<int32_t> out;
  for (auto logits = run->feed(prompt); out.size() < n;
       logits = run->feed(std::span(out).last(1))) {
    BOOST_REQUIRE(logits.ok());
    out.push_back(
        static_cast<int32_t>(std::max_element(logits->begin(), logits->end()) - logits->begin()));
  }
  return out;
}

} // namespace coel::test
