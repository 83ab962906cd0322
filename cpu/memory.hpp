// Aligned blocks of memory that are counted against a budget.
#pragma once

#include "common/result.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace coel::cpu {

/// Bytes in use of one device; thread-safe.
class budget {
 public:
  explicit budget(uint64_t limit_bytes) : limit_(limit_bytes) {} ///< 0: no limit

  bool take(uint64_t bytes);
  void give_back(uint64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }
  uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  uint64_t limit() const { return limit_; }

 private:
  const uint64_t limit_;
  std::atomic<uint64_t> used_{0};
};
using budget_ptr = std::shared_ptr<budget>;

/// An owned block, aligned to a cache line, and to a page if it is whole pages; larger ones lie on
/// huge pages (huge_heap.hpp).
class block {
 public:
  block() = default;
  block(block&& other) noexcept { swap(other); }
  block& operator=(block&& other) noexcept {
    swap(other);
    return *this;
  }
  ~block();

  /// Errors: out_of_memory; `what` names the purpose in the message.
  static result<block> make(uint64_t bytes, std::string_view what, budget_ptr from = nullptr);

  std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }

 private:
  void swap(block& other) noexcept;

  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
  budget_ptr budget_;
};

} // namespace coel::cpu
