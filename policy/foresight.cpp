#include "policy/foresight.hpp"

#include <algorithm>

namespace coel::policy {

namespace {

using state = expert_supply::state;

/// What is read for nothing costs little where the disk is idle (it is packed only when it is
/// wanted); where it is never idle it delays what is waited for (rule 3 of the policy).
constexpr double least_idle = 0.12, least_busy = 0.6;
/// The less sure, the further: there is time to ask again.
constexpr double more_per_layer = 0.03;
/// What a read for nothing costs of its own time: a demand comes upon it about so often.
constexpr double waste_share = 0.5;
/// What a read ahead would have saved, where that was only tried in thought.
constexpr double shadow_share = 0.5;

} // namespace

foresight::foresight(cache_shape shape) : shape_(shape), layers_(shape.layers) {}

std::vector<expert_supply::wish> foresight::consider(layer_id layer, uint32_t ahead,
                                                     std::span<const float> probability,
                                                     const state_of& is, double now_us,
                                                     double busy) {
  auto& l = layers_[index(layer)];
  double least = least_idle + (least_busy - least_idle) * busy + more_per_layer * (ahead - 1);
  std::vector<expert_supply::wish> wishes;
  for (uint32_t e = 0; e < probability.size(); ++e) {
    if (probability[e] < least)
      continue;
    expert_key key{layer, static_cast<expert_id>(e)};
    if (is(key) != state::absent) {
      wishes.push_back({key, probability[e]});
      continue;
    }
    auto known = std::find_if(l.open.begin(), l.open.end(),
                              [&](const guess& g) { return g.expert == key.expert; });
    if (known != l.open.end())
      continue;
    l.open.push_back({key.expert, !l.pays.on(), now_us});
    if (l.pays.on())
      wishes.push_back({key, probability[e]});
  }
  std::sort(wishes.begin(), wishes.end(), [](const auto& a, const auto& b) {
    return a.probability != b.probability ? a.probability > b.probability : a.key < b.key;
  });
  return wishes;
}

void foresight::turn(layer_id layer, std::span<const expert_use> wanted, const state_of& is,
                     double now_us, double read_us) {
  auto& l = layers_[index(layer)];
  for (const auto& g : std::exchange(l.open, {})) {
    bool right = std::any_of(wanted.begin(), wanted.end(),
                             [&](const expert_use& u) { return u.expert == g.expert; });
    judge(l, g, right, is({layer, g.expert}), now_us, read_us);
  }
}

void foresight::judge(layer_state& l, const guess& g, bool right, state was, double now_us,
                      double read_us) {
  if (!g.shadow && was == state::absent)
    return; // there was no room for it, or no time to begin
  double saved = was == state::resident ? read_us : std::min(read_us, now_us - g.since_us);
  if (g.shadow)
    saved = read_us * shadow_share;
  double cost = right ? 0 : read_us * waste_share;
  l.pays.judged(right, saved, cost);
  if (!g.shadow)
    saved_us_ += right ? saved : -cost;
}

} // namespace coel::policy
