#include "policy/card_budget.hpp"

#include <algorithm>

namespace coel::policy {

namespace {

std::string mib(uint64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

uint64_t beyond(uint64_t budget, uint64_t taken) {
  return budget - std::min(budget, taken);
}

error too_little(const card_needs& n, uint64_t budget, uint64_t kv_bytes) {
  auto pinned = card_pinned(n);
  return {ec::out_of_memory, mib(budget) +
                                 " of a card are too little: what every token uses takes " +
                                 mib(pinned) + " there, KV " + mib(kv_bytes) + " and steps " +
                                 mib(n.step_bytes) + ": give --gpu at least " +
                                 mib(pinned + kv_bytes + n.step_bytes) + ", or leave it out"};
}

} // namespace

uint64_t card_pinned(const card_needs& n) {
  return n.of.dense_bytes + n.of.shared_bytes;
}

uint64_t least_on_card(const card_needs& n) {
  return card_pinned(n) + n.of.kv_page_bytes * n.of.kv_pages_least + n.least_step_bytes;
}

uint32_t card_kv_pages(uint64_t free_bytes, uint64_t page_bytes, uint32_t wanted,
                       uint32_t pages_of_context) {
  uint64_t quarter = page_bytes ? free_bytes / 4 / page_bytes : wanted;
  return static_cast<uint32_t>(
      std::min<uint64_t>(wanted, std::max<uint64_t>(pages_of_context, quarter)));
}

uint64_t room_for_copies(uint64_t free_bytes, uint64_t routed_bytes, uint32_t layers) {
  constexpr uint64_t most_of = 8;
  if (free_bytes >= routed_bytes)
    return 0;
  return std::min(free_bytes / most_of, routed_bytes / std::max(layers, 1u));
}

result<card_plan> plan_card(const card_needs& n, uint64_t budget, bool kv_given) {
  card_plan p;
  p.pinned_bytes = card_pinned(n);
  p.step_bytes = n.step_bytes;
  p.kv_pages = kv_given
                   ? n.of.kv_pages_wanted
                   : card_kv_pages(beyond(budget, p.pinned_bytes + p.step_bytes),
                                   n.of.kv_page_bytes, n.of.kv_pages_wanted, n.kv_pages_context);
  p.kv_bytes = p.kv_pages * n.of.kv_page_bytes;
  uint64_t taken = p.pinned_bytes + p.kv_bytes + p.step_bytes;
  if (budget < taken)
    return too_little(n, budget, p.kv_bytes);
  p.copies_bytes = room_for_copies(budget - taken, n.of.routed_bytes, n.of.layers);
  p.expert_bytes = std::min(budget - taken - p.copies_bytes, n.of.routed_bytes);
  uint64_t all = uint64_t{n.of.layers} * n.of.experts;
  bool whole = p.expert_bytes == n.of.routed_bytes; // of different sizes, the largest counts else
  p.experts =
      whole ? all : std::min(all, p.expert_bytes / std::max<uint64_t>(n.of.expert_bytes, 1));
  return p;
}

} // namespace coel::policy
