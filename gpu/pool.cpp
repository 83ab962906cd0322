#include "gpu/pool.hpp"

#include <algorithm>

namespace coel::gpu {

namespace {

uint64_t rounded(uint64_t bytes) {
  return (std::max<uint64_t>(bytes, 1) + memory_pool::alignment - 1) / memory_pool::alignment *
         memory_pool::alignment;
}

std::string mib(uint64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

} // namespace

block::~block() {
  if (!from_)
    return;
  if (slab_)
    from_->give_back(data_, size_, static_cast<memory_pool::slab*>(slab_));
  else
    from_->give_back_host(data_);
}

void block::swap(block& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(from_, other.from_);
  std::swap(slab_, other.slab_);
}

memory_pool::~memory_pool() {
  for (auto& s : slabs_)
    card_->release(s.memory);
}

uint64_t memory_pool::next_slab_size(uint64_t size) const {
  uint64_t usual = std::max(size, slab_);
  if (budget_ == 0 || taken_ + usual <= budget_)
    return usual;
  uint64_t left = budget_ > taken_ ? budget_ - taken_ : 0;
  return left / alignment * alignment; // the last one is as large as it may be
}

result<memory_pool::slab*> memory_pool::slab_for(uint64_t size, std::string_view what) {
  slab* best = nullptr; // the one with the least room that is enough
  for (auto& s : slabs_)
    if (s.free.longest() >= size && (!best || s.free.free_bytes() < best->free.free_bytes()))
      best = &s;
  if (best)
    return best;
  uint64_t next = next_slab_size(size);
  if (next < size)
    return {ec::out_of_memory, std::string(what) + ": " + mib(size) +
                                   " do not fit the GPU budget of " + mib(budget_) + ", of which " +
                                   mib(budget_ - used_) +
                                   " are free: raise --gpu or keep less on the card"};
  auto memory = card_->allocate(next);
  if (!memory && memory.err().code == ec::out_of_memory && next > size) {
    next = size; // the card may still have that much
    memory = card_->allocate(next);
  }
  if (!memory)
    return {memory.err().code, std::string(what) + ": " + memory.err().message};
  slabs_.push_back({*memory, next, free_list(next)});
  taken_ += next;
  return &slabs_.back();
}

result<block> memory_pool::make(uint64_t bytes, std::string_view what) {
  if (bytes > UINT64_MAX / 2)
    return {ec::out_of_memory, std::string(what) + ": more than 2^63 bytes"};
  uint64_t size = rounded(bytes);
  std::lock_guard lock(mutex_);
  auto from = slab_for(size, what);
  if (!from)
    return from.err();
  block b;
  b.data_ = (*from)->memory + *(*from)->free.take(size);
  b.size_ = bytes;
  b.from_ = shared_from_this();
  b.slab_ = *from;
  used_ += bytes;
  return b;
}

result<block> memory_pool::make_host(uint64_t bytes, std::string_view what) {
  auto memory = card_->allocate_host(rounded(bytes));
  if (!memory)
    return {memory.err().code, std::string(what) + ": " + memory.err().message};
  std::lock_guard lock(mutex_);
  host_.emplace(*memory, rounded(bytes));
  block b;
  b.data_ = *memory;
  b.size_ = bytes;
  b.from_ = shared_from_this();
  return b;
}

bool memory_pool::is_host(const void* p) const {
  auto at = static_cast<const std::byte*>(p);
  std::lock_guard lock(mutex_);
  auto after = host_.upper_bound(at);
  if (after == host_.begin())
    return false;
  --after;
  return at < after->first + after->second;
}

void memory_pool::give_back(std::byte* data, uint64_t size, slab* from) {
  std::byte* empty = nullptr;
  {
    std::lock_guard lock(mutex_);
    used_ -= size;
    from->free.give_back(static_cast<uint64_t>(data - from->memory), rounded(size));
    if (from->free.free_bytes() < from->size)
      return;
    // Kept while it is the only one, so that one expert going and the next coming costs nothing.
    if (slabs_.size() == 1)
      return;
    empty = from->memory;
    taken_ -= from->size;
    slabs_.remove_if([from](const slab& s) { return &s == from; });
  }
  card_->release(empty);
}

void memory_pool::give_back_host(std::byte* data) {
  {
    std::lock_guard lock(mutex_);
    host_.erase(data);
  }
  card_->release_host(data);
}

uint64_t memory_pool::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

uint64_t memory_pool::taken() const {
  std::lock_guard lock(mutex_);
  return taken_;
}

} // namespace coel::gpu
