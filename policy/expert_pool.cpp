#include "policy/expert_pool.hpp"

#include "policy/memory_budget.hpp"

#include <algorithm>

namespace coel::policy {

namespace {

bool covered(std::span<const pool_member> members, const room_demand& model) {
  uint64_t room = 0;
  for (const auto& m : members)
    room += std::min(room_in(m.bytes, model.expert_bytes).room, model.experts);
  return room >= model.experts;
}

/// Not even one expert: nothing can be read there.
uint64_t pool_in(uint64_t bytes, const room_demand& model, const pool_rule& rule) {
  if (bytes < model.expert_bytes + rule.beside_bytes)
    return 0;
  bytes -= rule.beside_bytes;
  auto wanted = static_cast<uint64_t>(rule.share * static_cast<double>(bytes));
  return std::min(bytes, std::max({wanted, rule.least_bytes, model.expert_bytes}));
}

} // namespace

std::vector<uint64_t> pools_of(std::span<const pool_member> members, const room_demand& model,
                               const pool_rule& rule) {
  std::vector<uint64_t> out(members.size(), 0);
  if (covered(members, model))
    return out;
  for (size_t i = 0; i < members.size(); ++i)
    if (members[i].reads)
      out[i] = pool_in(members[i].bytes, model, rule);
  return out;
}

double read_share(uint64_t pool_bytes, uint64_t left_bytes) {
  if (!left_bytes)
    return 0;
  auto share = static_cast<double>(pool_bytes) / static_cast<double>(left_bytes);
  return 1 - hits_at(usual_hit_curve(), share);
}

} // namespace coel::policy
