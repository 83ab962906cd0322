// Which KV pages are free. A page belongs to at most one session.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace coel::policy {

class kv_pages {
 public:
  explicit kv_pages(uint32_t pages);

  /// `count` pages, or nullopt if fewer are free (then none is taken).
  std::optional<std::vector<uint32_t>> take(uint32_t count);
  /// Pages from take; each exactly once.
  void give_back(const std::vector<uint32_t>& pages);

  uint32_t total() const { return total_; }
  uint32_t free() const { return static_cast<uint32_t>(free_.size()); }
  uint32_t used() const { return total_ - free(); }

 private:
  uint32_t total_;
  std::vector<uint32_t> free_; // the last is handed out first: recently used pages are in cache
};

/// Pages that hold this many tokens.
constexpr uint32_t pages_for(uint64_t tokens, uint32_t page_tokens) {
  return static_cast<uint32_t>((tokens + page_tokens - 1) / page_tokens);
}

} // namespace coel::policy
