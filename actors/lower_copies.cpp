#include "actors/lower_copies.hpp"

#include <algorithm>

namespace coel::actors {

lower_copies::lower_copies(model::lower_experts how, uint64_t room)
    : how_(std::move(how)), room_(room), copies_(how_.resident_bytes().size()),
      sizes_(copies_.size()), misses_(copies_.size()) {}

model::expert_ptr lower_copies::lend(size_t slot) const {
  std::lock_guard hold(lock_);
  return copies_[slot];
}

void lower_copies::put(size_t slot, model::expert_ptr copy) {
  std::lock_guard hold(lock_);
  sizes_[slot] = copy->bytes;
  copies_[slot] = std::move(copy);
}

void lower_copies::drop(size_t slot) {
  model::expert_ptr last; // ends outside the lock
  std::lock_guard hold(lock_);
  sizes_[slot] = 0;
  last.swap(copies_[slot]);
}

lower_copies::sum lower_copies::here() const {
  sum all;
  for (const auto& s : sizes_) {
    uint64_t bytes = s;
    all.copies += bytes > 0;
    all.bytes += bytes;
  }
  return all;
}

std::shared_ptr<lower_copies> set_lower_aside(const served_model& m, policy::memory_plan& plan,
                                              const lower_choice& choice,
                                              std::vector<std::string>& notes) {
  auto without = [&](const char* why) {
    notes.push_back(m.name + ": no copies of fewer bits: " + why);
    return nullptr;
  };
  auto how = model::lower_experts::of(m.source, choice.type);
  if (!how)
    return without("its experts have so few bits that a copy would save too little");
  auto share = static_cast<uint64_t>(choice.share * static_cast<double>(plan.cache_bytes));
  auto largest = *std::max_element(how->resident_bytes().begin(), how->resident_bytes().end());
  if (share < how->work_bytes() + largest)
    return without("that share of the memory has no room for one");
  policy::set_aside(plan, share);
  auto room = share - how->work_bytes();
  return std::make_shared<lower_copies>(std::move(*how), room);
}

} // namespace coel::actors
