#include "policy/replica_rule.hpp"

#include <algorithm>

namespace coel::policy {

namespace {

constexpr replica_rule rules[] = {replica_rule::random,       replica_rule::fixed_best,
                                  replica_rule::least_loaded, replica_rule::two_choices,
                                  replica_rule::average,      replica_rule::trained,
                                  replica_rule::oracle};
constexpr std::string_view names[] = {"random",  "fixed best", "least-loaded", "two-choices",
                                      "average", "trained",    "oracle"};

/// Ties go to any of them: the walk begins anywhere.
size_t least(std::span<const double> loads, std::mt19937_64& random) {
  size_t first = random() % loads.size(), best = first;
  for (size_t k = 1; k < loads.size(); ++k)
    if (size_t i = (first + k) % loads.size(); loads[i] < loads[best])
      best = i;
  return best;
}

} // namespace

std::span<const replica_rule> all_replica_rules() {
  return rules;
}

std::string_view to_string(replica_rule rule) {
  return names[static_cast<size_t>(rule)];
}

std::optional<replica_rule> replica_rule_named(std::string_view name) {
  for (auto rule : rules)
    if (to_string(rule) == name)
      return rule;
  return {};
}

bool is_blind(replica_rule rule) {
  return rule == replica_rule::random || rule == replica_rule::least_loaded ||
         rule == replica_rule::two_choices;
}

size_t pick_replica(replica_rule rule, std::span<const double> loads, std::mt19937_64& random) {
  auto n = loads.size();
  if (rule == replica_rule::least_loaded)
    return least(loads, random);
  size_t a = random() % n;
  if (rule != replica_rule::two_choices || n < 2)
    return a;
  size_t b = (a + 1 + random() % (n - 1)) % n;
  return loads[b] < loads[a] ? b : a;
}

} // namespace coel::policy
