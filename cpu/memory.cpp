#include "cpu/memory.hpp"

#include <cstdlib>
#include <string>
#include <sys/mman.h>
#include <utility>

namespace coel::cpu {

namespace {

constexpr uint64_t line_bytes = 64;
constexpr uint64_t huge_page_bytes = uint64_t{2} << 20;
constexpr uint64_t largest_block = uint64_t{1} << 46; // more than any machine has

error too_little(uint64_t bytes, std::string_view what, const budget* from) {
  std::string text = std::string(what) + ": no room for " + std::to_string(bytes) + " bytes";
  if (from && from->limit())
    text += " in the budget of " + std::to_string(from->limit()) + " bytes, of which " +
            std::to_string(from->used()) + " are in use";
  return {ec::out_of_memory, text};
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

result<block> block::make(uint64_t bytes, std::string_view what, budget_ptr from) {
  if (bytes > largest_block || (from && !from->take(bytes)))
    return too_little(bytes, what, from.get());
  bool huge = bytes >= huge_page_bytes;
  uint64_t align = huge ? huge_page_bytes : line_bytes;
  uint64_t rounded = (bytes / line_bytes + 1) * line_bytes;
  block made;
  if (posix_memalign(reinterpret_cast<void**>(&made.data_), align, rounded) != 0) {
    if (from)
      from->give_back(bytes);
    made.data_ = nullptr;
    return too_little(bytes, what, nullptr);
  }
  if (huge)
    madvise(made.data_, rounded / huge_page_bytes * huge_page_bytes, MADV_HUGEPAGE);
  made.size_ = bytes;
  made.budget_ = std::move(from);
  return made;
}

block::~block() {
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
