// An expert that tells the actor which lent it when nobody has its memory any more.
#pragma once

#include "actors/served_model.hpp"
#include "model/weights.hpp"

#include <caf/all.hpp>

namespace coel::actors {

/// `owner` gets (release, key), unless it is gone by then.
template <class Actor>
model::expert_ptr lent_by(const Actor& owner, const served_model& m, expert_key key,
                          std::shared_ptr<const compute::expert_weights> weights) {
  *m.resident_bytes += weights->bytes;
  auto address = caf::actor_cast<caf::weak_actor_ptr>(owner);
  const auto* raw = weights.get();
  auto give_back = [weights, address, key,
                    resident = m.resident_bytes](const compute::expert_weights* w) mutable {
    *resident -= w->bytes;
    weights.reset();
    if (auto to = caf::actor_cast<caf::strong_actor_ptr>(address))
      caf::anon_send(caf::actor_cast<Actor>(to), atom::release::value, key);
  };
  return model::expert_ptr(raw, std::move(give_back));
}

} // namespace coel::actors
