// Gives away parts of one stretch of addresses: best fit, neighbours joined when given back.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace coel::gpu {

class free_list {
 public:
  explicit free_list(uint64_t size) { insert(0, size); }

  /// Offset of `size` bytes (not 0); nullopt: no free part is as long.
  std::optional<uint64_t> take(uint64_t size);
  /// What take gave, whole.
  void give_back(uint64_t offset, uint64_t size);

  uint64_t free_bytes() const { return free_; }
  uint64_t longest() const { return by_size_.empty() ? 0 : by_size_.rbegin()->first; }

 private:
  using offsets = std::map<uint64_t, uint64_t>; // offset -> size
  void insert(uint64_t offset, uint64_t size);
  void erase(offsets::iterator at);

  offsets by_offset_;
  std::multimap<uint64_t, uint64_t> by_size_; // size -> offset
  uint64_t free_ = 0;
};

} // namespace coel::gpu
