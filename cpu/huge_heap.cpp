#include "cpu/huge_heap.hpp"

#include <algorithm>
#include <iterator>
#include <sys/mman.h>

namespace coel::cpu {

namespace {

constexpr uint64_t page_bytes = 4096;
constexpr uint64_t huge_page_bytes = uint64_t{2} << 20;
constexpr uint64_t slab_bytes = uint64_t{64} << 20;

uint64_t rounded(uint64_t bytes, uint64_t unit) {
  return (std::max<uint64_t>(bytes, 1) + unit - 1) / unit * unit;
}

/// Address space aligned to a huge page: maps one page more and lets go of what sticks out.
std::byte* map_aligned(uint64_t bytes) {
  uint64_t size = bytes + huge_page_bytes;
  void* mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED)
    return nullptr;
  auto address = reinterpret_cast<uintptr_t>(mapped);
  uint64_t before = rounded(address, huge_page_bytes) - address;
  auto* base = static_cast<std::byte*>(mapped) + before;
  if (before > 0)
    munmap(mapped, before);
  munmap(base + bytes, huge_page_bytes - before);
  madvise(base, bytes, MADV_HUGEPAGE);
  return base;
}

} // namespace

huge_heap& huge_heap::instance() {
  static auto* heap = new huge_heap; // never destroyed: blocks may outlive static objects
  return *heap;
}

std::byte* huge_heap::take(uint64_t bytes) {
  bytes = rounded(bytes, page_bytes);
  std::lock_guard lock(mutex_);
  for (auto& [base, s] : slabs_)
    if (std::byte* at = carve(s, bytes))
      return at;
  uint64_t size = std::max(rounded(bytes, huge_page_bytes), slab_bytes);
  std::byte* base = map_aligned(size);
  if (!base)
    return nullptr;
  auto& s = slabs_[base];
  s.size = size;
  s.free[base] = size;
  return carve(s, bytes);
}

/// First fit; null if no extent is large enough.
std::byte* huge_heap::carve(slab& from, uint64_t bytes) {
  for (auto extent = from.free.begin(); extent != from.free.end(); ++extent) {
    auto [at, size] = *extent;
    if (size < bytes)
      continue;
    from.free.erase(extent);
    if (size > bytes)
      from.free[at + bytes] = size - bytes;
    return at;
  }
  return nullptr;
}

void huge_heap::give_back(std::byte* at, uint64_t bytes) {
  bytes = rounded(bytes, page_bytes);
  std::lock_guard lock(mutex_);
  auto owner = std::prev(slabs_.upper_bound(at));
  auto& [base, s] = *owner;
  merge(s, at, bytes);
  if (s.free.begin()->second != s.size)
    return;
  munmap(base, s.size);
  slabs_.erase(owner);
}

void huge_heap::merge(slab& into, std::byte* at, uint64_t bytes) {
  auto next = into.free.lower_bound(at);
  if (next != into.free.end() && at + bytes == next->first) {
    bytes += next->second;
    next = into.free.erase(next);
  }
  if (next != into.free.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second == at) {
      before->second += bytes;
      return;
    }
  }
  into.free[at] = bytes;
}

uint64_t huge_heap::reserved_bytes() const {
  std::lock_guard lock(mutex_);
  uint64_t sum = 0;
  for (const auto& [base, s] : slabs_)
    sum += s.size;
  return sum;
}

} // namespace coel::cpu
