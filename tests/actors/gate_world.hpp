// A layer's gate with real experts here and played neighbours.
#pragma once

#include "actors/gate.hpp"
#include "expert_world.hpp"

namespace coel::actors::test {

using answering =
    std::function<caf::result<partial_sum>(link_actor::pointer, const remote_dispatch&)>;

/// What a played neighbour was asked, in order.
class notebook {
 public:
  void add(const remote_dispatch& asked) {
    std::lock_guard lock(mutex_);
    all_.push_back(asked);
  }
  std::vector<remote_dispatch> all() const {
    std::lock_guard lock(mutex_);
    return all_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<remote_dispatch> all_;
};
using notebook_ptr = std::shared_ptr<notebook>;

/// The same number everywhere.
inline answering constant(float value, const notebook_ptr& notes = {}) {
  return [=](link_actor::pointer, const remote_dispatch& asked) -> caf::result<partial_sum> {
    if (notes)
      notes->add(asked);
    return partial_sum{std::vector<float>(asked.activations.size(), value), 0, 0, 0};
  };
}

/// The same failure, that many times; then what `after` says.
inline answering failing(error why, int times, answering after) {
  auto left = std::make_shared<std::atomic<int>>(times);
  return [=](link_actor::pointer link, const remote_dispatch& asked) -> caf::result<partial_sum> {
    if (left->fetch_sub(1) > 0)
      return to_caf(why);
    return after(link, asked);
  };
}

struct gate_world : expert_world {
  using links = std::map<node_id, link_actor>;

  /// All here, but for those named.
  policy::routing_table table(const std::map<uint32_t, std::vector<node_id>>& hosts = {}) const {
    policy::routing_table all(model->config().layers, model->experts_per_layer, here);
    for (const auto& [e, where] : hosts)
      all = all.with({layer, expert_id(e)}, where);
    return all;
  }
  policy::routing_table all_at(std::vector<node_id> hosts) const {
    auto all = table();
    for (uint32_t e = 0; e < model->experts_per_layer; ++e)
      all = all.with({layer, expert_id(e)}, hosts);
    return all;
  }
  static route_view_ptr view(policy::routing_table t, links l = {}) {
    return std::make_shared<route_view>(route_view{std::move(t), std::move(l)});
  }

  /// On a thread of its own: it may wait for the device, which a device's thread must not.
  link_actor link(answering answer) {
    auto behave = [answer](link_actor::pointer link) -> link_actor::behavior_type {
      return {[=](const remote_dispatch& asked) { return answer(link, asked); },
              [](const remote_output&) -> caf::result<partial_sum> {
                return to_caf({ec::busy, "not played"});
              }};
    };
    return keep(system.spawn<caf::detached>(behave));
  }
  /// A neighbour that does what it is asked.
  answering honest(const notebook_ptr& notes = {}) {
    return [this, notes](link_actor::pointer,
                         const remote_dispatch& asked) -> caf::result<partial_sum> {
      if (notes)
        notes->add(asked);
      return computed(asked);
    };
  }
  answering refusing(error why) { return failing(std::move(why), 1'000'000, honest()); }

  gate_actor gate_with(std::vector<expert_actor> experts, route_view_ptr where,
                       std::chrono::milliseconds missing_patience = 0ms) {
    return keep(system.spawn(gate, gate_config{model, layer, here, std::move(where),
                                               std::move(experts), missing_patience}));
  }
  gate_actor gate_at(route_view_ptr where, std::chrono::milliseconds missing_patience = 0ms) {
    return gate_with(spawn_experts(layer), std::move(where), missing_patience);
  }

  /// From now on the split prefers hosts in this order, until something is measured.
  void prefer(const std::vector<node_id>& order) {
    double us = 1;
    for (auto host : order) {
      model->costs->forget(host);
      model->costs->announced(host, {us, 0});
      us *= 1e4;
    }
  }

  layer_work work() const { return {layer, rows, memory}; }
  template <class Pending>
  static layer_done outcome_of(Pending&& pending) {
    layer_done done;
    pending.receive(
        [&](const layer_done& d) { done = d; },
        [&](caf::error& e) { BOOST_FAIL("the gate failed or hangs: " << from_caf(e).message); });
    return done;
  }
  layer_done dispatch(const gate_actor& to) {
    fill();
    return outcome_of(self->request(to, generous, work()));
  }

  /// What one node alone makes of the rows.
  std::vector<float> expected() {
    BOOST_REQUIRE(dispatch(gate_at(view(table()))).outcome.ok());
    return residual();
  }
  void check_right(const layer_done& done, const std::vector<float>& wanted) {
    BOOST_REQUIRE_MESSAGE(done.outcome.ok(), (done.outcome.ok() ? "" : done.outcome.err().message));
    check_close(residual(), wanted);
  }
};

} // namespace coel::actors::test
