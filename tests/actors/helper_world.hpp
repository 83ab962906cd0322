// A helper over real experts of all layers.
#pragma once

#include "actors/helper.hpp"
#include "gate_world.hpp"

namespace coel::actors::test {

struct helper_world : gate_world {
  /// Experts of `layer` named here fail so many times to load.
  helper_actor make_helper(const std::map<uint32_t, int>& failures = {},
                           uint32_t max_in_flight = 32) {
    helper_config c{model, here, {}, max_in_flight, 16};
    for (uint32_t l = 0; l < model->config().layers; ++l)
      for (auto& e : spawn_experts(layer_id(l)))
        c.experts.push_back(std::move(e));
    for (auto [e, times] : failures) {
      auto& at = c.experts[size_t{index(layer)} * model->experts_per_layer + e];
      at = make_flaky(at, times);
    }
    return keep(system.spawn(helper, std::move(c)));
  }
  template <class Handle>
  partial_sum sum_of(const Handle& asked, const remote_dispatch& ask) {
    partial_sum sum;
    self->request(asked, generous, ask)
        .receive([&](const partial_sum& s) { sum = s; },
                 [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
    return sum;
  }
};

} // namespace coel::actors::test
