// The card's memory under a byte budget. It is taken from the card in large slabs, since asking the
// card for every expert would stall the work under way, and given back a slab at a time.
#pragma once

#include "gpu/card.hpp"
#include "gpu/free_list.hpp"

#include <list>
#include <mutex>
#include <string_view>

namespace coel::gpu {

class memory_pool;

/// An owned part of the pool, or of the host's memory that the card sees.
class block {
 public:
  block() = default;
  block(block&& other) noexcept { swap(other); }
  block& operator=(block&& other) noexcept {
    swap(other);
    return *this;
  }
  ~block();

  std::byte* data() const { return data_; }
  uint64_t size() const { return size_; } ///< as asked for

 private:
  friend class memory_pool;
  void swap(block& other) noexcept;

  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
  std::shared_ptr<memory_pool> from_;
  void* slab_ = nullptr; // null: host memory
};

class memory_pool : public std::enable_shared_from_this<memory_pool> {
 public:
  static constexpr uint64_t alignment = 256; ///< of every block; what any kernel may load at once
  static constexpr uint64_t slab_bytes = uint64_t{256} << 20;

  /// budget_bytes: of all slabs together, 0: what the card has. usual: bytes of a slab.
  memory_pool(card_ptr card, uint64_t budget_bytes, uint64_t usual = slab_bytes)
      : card_(std::move(card)), budget_(budget_bytes), slab_(usual) {}
  ~memory_pool();

  /// Errors: out_of_memory (the budget, or the card), device_lost. `what` names the purpose.
  result<block> make(uint64_t bytes, std::string_view what);
  /// Host memory; not in the budget. Errors: as make.
  result<block> make_host(uint64_t bytes, std::string_view what);
  bool is_host(const void* p) const; ///< inside a block of make_host

  uint64_t used() const;  ///< bytes of blocks
  uint64_t taken() const; ///< bytes of slabs
  uint64_t budget() const { return budget_ ? budget_ : card_->info().memory_bytes; }
  card& on() const { return *card_; }

 private:
  friend class block;
  struct slab {
    std::byte* memory;
    uint64_t size;
    free_list free;
  };

  result<slab*> slab_for(uint64_t size, std::string_view what);
  uint64_t next_slab_size(uint64_t size) const;
  void give_back(std::byte* data, uint64_t size, slab* from);
  void give_back_host(std::byte* data);

  card_ptr card_;
  const uint64_t budget_;
  const uint64_t slab_;
  mutable std::mutex mutex_;
  std::list<slab> slabs_;
  std::map<const std::byte*, uint64_t> host_; // size by address
  uint64_t used_ = 0;
  uint64_t taken_ = 0;
};

} // namespace coel::gpu
