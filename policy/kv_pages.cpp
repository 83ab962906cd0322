#include "policy/kv_pages.hpp"

#include <cassert>

namespace coel::policy {

kv_pages::kv_pages(uint32_t pages) : total_(pages) {
  for (uint32_t p = pages; p > 0; --p)
    free_.push_back(p - 1);
}

std::optional<std::vector<uint32_t>> kv_pages::take(uint32_t count) {
  if (count > free_.size())
    return std::nullopt;
  std::vector<uint32_t> taken(free_.rbegin(), free_.rbegin() + count);
  free_.resize(free_.size() - count);
  return taken;
}

void kv_pages::give_back(const std::vector<uint32_t>& pages) {
  assert(free_.size() + pages.size() <= total_);
  free_.insert(free_.end(), pages.rbegin(), pages.rend());
}

} // namespace coel::policy
