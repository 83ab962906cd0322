// Memory on huge pages for blocks of any larger size. An expert's matrix is often smaller than a
// huge page or not a multiple of it; on small pages, streaming through it costs a page walk every 4
// KiB, measured as a third of the bandwidth on a virtual machine. So blocks share slabs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

namespace coel::cpu {

class huge_heap {
 public:
  /// The one of the process.
  static huge_heap& instance();

  /// Uninitialised memory aligned to a page, or null.
  std::byte* take(uint64_t bytes);
  void give_back(std::byte* at, uint64_t bytes);

  /// Address space held from the system.
  uint64_t reserved_bytes() const;

 private:
  struct slab {
    uint64_t size = 0;
    std::map<std::byte*, uint64_t> free; // extents by address, none adjacent to another
  };

  static std::byte* carve(slab& from, uint64_t bytes);
  static void merge(slab& into, std::byte* at, uint64_t bytes);

  mutable std::mutex mutex_;
  std::map<std::byte*, slab> slabs_; // by base address
};

} // namespace coel::cpu
