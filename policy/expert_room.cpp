#include "policy/expert_room.hpp"

#include <algorithm>

namespace coel::policy {

namespace {

uint64_t spare_of(uint64_t space) {
  return space < 4 ? 0 : std::max<uint64_t>(1, space / 64);
}

} // namespace

std::vector<room_share> share_room(uint64_t free_bytes, std::span<const room_demand> models) {
  uint64_t all = 0;
  for (const auto& m : models)
    all += m.expert_bytes * m.experts;
  std::vector<room_share> out;
  for (const auto& m : models) {
    double share = static_cast<double>(m.expert_bytes * m.experts) / static_cast<double>(all);
    auto space = static_cast<uint64_t>(static_cast<double>(free_bytes) * share) / m.expert_bytes;
    out.push_back({space, space - spare_of(space)});
  }
  return out;
}

} // namespace coel::policy
