// What an updater does where the nodes together have no room for a model: keeps a part of this
// node's memory to read by, and says what is read (policy/expert_pool).
#pragma once

#include "actors/updater.hpp"
#include "policy/expert_pool.hpp"

#include <functional>

namespace coel::actors {

/// A home with the model's files, which may read them while it runs.
bool can_read(const placed_model& m);

/// What reading takes of this node's memory beside the pool; 0 while it has none.
uint64_t read_by(const placed_model& m);

/// What a plan counts for an expert that no node is to hold, read by a home, until it can run.
double read_us(const placed_model& m);

policy::pool_rule pool_rule_of(const placed_model& m);

/// The rule is followed when it has said the same for a while: nodes come together first.
void follow_rule(const updater_state& st, placed_model& m, const std::vector<uint64_t>& pools,
                 size_t here);

/// Brings the pool to its size; `then` is called when it has come to it.
void look_after_pool(updater_actor::stateful_pointer<updater_state> self, const std::string& name,
                     placed_model& m, const std::function<void()>& then);

} // namespace coel::actors
