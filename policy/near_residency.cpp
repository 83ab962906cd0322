#include "policy/near_residency.hpp"

#include <algorithm>
#include <cmath>

namespace coel::policy {

namespace {

/// A memory that refused is not asked again at once: what it lacks seldom comes back soon.
constexpr uint32_t turns_after_refusal = 16;

} // namespace

near_residency::near_residency(cache_shape shape, std::vector<uint64_t> bytes,
                               residency_limits limits)
    : shape_(shape), bytes_(std::move(bytes)), limits_(limits), value_(shape.slots()),
      near_(shape.slots()) {
  for (auto& b : bytes_)
    b = std::max<uint64_t>(b, 1);
}

void near_residency::used(std::span<const uint64_t> rows, uint64_t tokens) {
  if (tokens == 0)
    return;
  double kept = std::exp2(-static_cast<double>(tokens) / limits_.half_life_tokens);
  for (size_t i = 0; i < value_.size(); ++i)
    value_[i] =
        kept * value_[i] + (1 - kept) * static_cast<double>(rows[i]) / static_cast<double>(tokens);
}

uint64_t near_residency::near_bytes() const {
  uint64_t sum = 0;
  for (size_t i = 0; i < near_.size(); ++i)
    sum += near_[i] ? bytes_[i] : 0;
  return sum;
}

double near_residency::density(size_t slot) const {
  return value_[slot] / static_cast<double>(bytes_[slot]);
}

expert_key near_residency::key_of(size_t slot) const {
  return {static_cast<layer_id>(slot / shape_.experts),
          static_cast<expert_id>(slot % shape_.experts)};
}

/// Equal ones in the order of layers, or against it if `rising`.
std::vector<size_t> near_residency::by_density(const test& chosen, bool rising) const {
  std::vector<size_t> slots;
  for (size_t i = 0; i < near_.size(); ++i)
    if (chosen(i))
      slots.push_back(i);
  std::sort(slots.begin(), slots.end(), [&](size_t a, size_t b) {
    double x = density(a), y = density(b);
    if (x != y)
      return rising ? x < y : x > y;
    return rising ? a > b : a < b;
  });
  return slots;
}

/// Sends away what is worth least until the candidate fits; it comes when they are gone.
bool near_residency::exchange(size_t candidate, uint64_t room, uint64_t taken,
                              std::vector<residency_move>& moves) const {
  double lost_value = 0;
  std::vector<residency_move> out;
  for (size_t victim : by_density([&](size_t i) { return near_[i]; }, true)) {
    if (density(victim) >= density(candidate))
      return false;
    lost_value += value_[victim];
    taken -= bytes_[victim];
    out.push_back({key_of(victim), false});
    if (taken + bytes_[candidate] > room)
      continue;
    if (value_[candidate] < lost_value * limits_.margin ||
        value_[candidate] - lost_value < limits_.least_gain)
      return false;
    moves = std::move(out);
    return true;
  }
  return false;
}

std::vector<residency_move> near_residency::next(uint64_t room, const test& may) {
  if (!pending_.empty())
    return {};
  if (hold_back_ > 0) {
    --hold_back_;
    return {};
  }
  std::vector<residency_move> moves;
  uint64_t taken = near_bytes();
  for (size_t slot : by_density([&](size_t i) { return !near_[i] && may(i); }, false)) {
    if (moves.size() == limits_.moves_at_once)
      break;
    if (taken + bytes_[slot] <= room) {
      taken += bytes_[slot];
      moves.push_back({key_of(slot), true});
    } else {
      if (moves.empty())
        exchange(slot, room, taken, moves);
      break; // who is worth less does not pass by who waits for room
    }
  }
  pending_ = moves;
  return moves;
}

void near_residency::moved(const residency_move& m, bool done, uint64_t bytes) {
  auto at = std::find(pending_.begin(), pending_.end(), m);
  if (at == pending_.end())
    return;
  pending_.erase(at);
  auto slot = shape_.slot(m.key);
  if (done)
    near_[slot] = m.come;
  else
    hold_back_ = turns_after_refusal;
  if (done && m.come && bytes)
    bytes_[slot] = bytes;
}

void near_residency::lost(expert_key key) {
  near_[shape_.slot(key)] = false;
}

void near_residency::came(expert_key key, uint64_t bytes) {
  auto slot = shape_.slot(key);
  near_[slot] = true;
  bytes_[slot] = std::max<uint64_t>(bytes, 1);
}

} // namespace coel::policy
