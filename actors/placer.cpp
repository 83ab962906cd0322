#include "actors/placer.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

plan_answer_ptr answer(const plan_question& ask) {
  auto out = std::make_shared<plan_answer>();
  if (ask.present)
    out->present = policy::price_of(ask.problem, *ask.present, ask.stages);
  if (!ask.plan)
    return out;
  auto made = policy::plan_cluster(ask.problem);
  if (made)
    out->plan = std::move(*made);
  else
    out->why = made.err();
  return out;
}

} // namespace

placer_actor::behavior_type placer(placer_actor::stateful_pointer<placer_state> self) {
  return {
      [self](atom::status) { return self->state.cost.status(self, "placer"); },
      [self](const plan_question_ptr& ask) {
        auto measured = self->state.cost.measure();
        return answer(*ask);
      },
      [self](const home_prices_question_ptr& ask) -> home_prices_ptr {
        auto measured = self->state.cost.measure();
        return std::make_shared<const std::vector<policy::home_price>>(
            policy::price_homes(ask->cluster, ask->held, ask->probe->routing, ask->probe->fed));
      },
  };
}

} // namespace coel::actors
