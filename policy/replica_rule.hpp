// Ways of choosing which of several nodes runs what all of them hold: the production policy
// (replica_choice) and plainer ones to compare it with.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string_view>

namespace coel::policy {

enum class replica_rule : uint8_t {
  random,
  fixed_best,   ///< least round trip and run time when idle; simulated only
  least_loaded, ///< least that is known to wait there
  two_choices,  ///< the less loaded of two random ones (Mitzenmacher, 2001)
  average,      ///< average latency times those under way: the fall-back
  trained,      ///< replica_chooser
  oracle,       ///< knows queues and links; simulated only
};
std::span<const replica_rule> all_replica_rules();
std::string_view to_string(replica_rule rule);
std::optional<replica_rule> replica_rule_named(std::string_view name);

/// It looks at no prediction: `pick_replica` decides.
bool is_blind(replica_rule rule);

/// By a blind rule: the position of one of `loads` (not empty), ties at random.
size_t pick_replica(replica_rule rule, std::span<const double> loads, std::mt19937_64& random);

} // namespace coel::policy
