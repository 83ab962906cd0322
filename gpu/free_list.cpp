#include "gpu/free_list.hpp"

#include <iterator>

namespace coel::gpu {

void free_list::insert(uint64_t offset, uint64_t size) {
  by_offset_.emplace(offset, size);
  by_size_.emplace(size, offset);
  free_ += size;
}

void free_list::erase(offsets::iterator at) {
  auto [first, last] = by_size_.equal_range(at->second);
  while (first != last && first->second != at->first)
    ++first;
  by_size_.erase(first);
  free_ -= at->second;
  by_offset_.erase(at);
}

std::optional<uint64_t> free_list::take(uint64_t size) {
  auto best = by_size_.lower_bound(size);
  if (best == by_size_.end())
    return std::nullopt;
  auto [length, offset] = *best;
  erase(by_offset_.find(offset));
  if (length > size)
    insert(offset + size, length - size);
  return offset;
}

void free_list::give_back(uint64_t offset, uint64_t size) {
  auto next = by_offset_.lower_bound(offset);
  if (next != by_offset_.begin())
    if (auto before = std::prev(next); before->first + before->second == offset) {
      offset = before->first;
      size += before->second;
      erase(before);
    }
  if (next != by_offset_.end() && offset + size == next->first) {
    size += next->second;
    erase(next);
  }
  insert(offset, size);
}

} // namespace coel::gpu
