#include "cpu/memory.hpp"

#include "cpu/huge_heap.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

namespace coel::cpu {

namespace {

constexpr uint64_t line_bytes = 64, page_bytes = 4096;
/// From here on blocks lie on huge pages, which many of them share.
constexpr uint64_t huge_block = 64 << 10;
constexpr uint64_t largest_block = uint64_t{1} << 46; // more than any machine has

error too_little(uint64_t bytes, std::string_view what, const budget* from) {
  std::string text = std::string(what) + ": no room for " + std::to_string(bytes) + " bytes";
  if (from && from->limit())
    text += " in the budget of " + std::to_string(from->limit()) + " bytes, of which " +
            std::to_string(from->used()) + " are in use";
  return {ec::out_of_memory, text};
}

/// Not under the address sanitizer, which watches the borders of heap blocks only.
bool on_huge_pages([[maybe_unused]] uint64_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  return false;
#else
  return bytes >= huge_block;
#endif
}

} // namespace

bool budget::take(uint64_t bytes) {
  uint64_t used = used_.load(std::memory_order_relaxed);
  do {
    if (limit_ && (used > limit_ || bytes > limit_ - used))
      return false;
  } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  return true;
}

namespace {

/// Memory for a block; null if there is none.
std::byte* take_memory(uint64_t bytes) {
  if (on_huge_pages(bytes))
    return huge_heap::instance().take(bytes);
  void* memory = nullptr;
  // Files are read past the page cache into whole pages only.
  uint64_t unit = bytes > 0 && bytes % page_bytes == 0 ? page_bytes : line_bytes;
  if (posix_memalign(&memory, unit, std::max(bytes, line_bytes)) != 0)
    return nullptr;
  return static_cast<std::byte*>(memory);
}

} // namespace

result<block> block::make(uint64_t bytes, std::string_view what, budget_ptr from) {
  if (bytes > largest_block || (from && !from->take(bytes)))
    return too_little(bytes, what, from.get());
  block made;
  made.data_ = take_memory(bytes);
  if (!made.data_) {
    if (from)
      from->give_back(bytes);
    return too_little(bytes, what, nullptr);
  }
  made.size_ = bytes;
  made.budget_ = std::move(from);
  return made;
}

block::~block() {
  if (on_huge_pages(size_))
    huge_heap::instance().give_back(data_, size_);
  else
    std::free(data_);
  if (budget_)
    budget_->give_back(size_);
}

void block::swap(block& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(budget_, other.budget_);
}

} // namespace coel::cpu
