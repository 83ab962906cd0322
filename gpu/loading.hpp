// Brings matrices to the card in the layout of its kernels.
#pragma once

#include "gpu/tensors.hpp"

#include <atomic>
#include <vector>

namespace coel::gpu {

/// Copies through pinned blocks of the host: packs into one while the other is on its way.
/// Thread-safe: every caller takes blocks of its own.
struct load_totals {
  uint64_t bytes = 0;
  uint64_t us = 0;     ///< packing and copying
  uint64_t bus_us = 0; ///< copying
};

class loader {
 public:
  explicit loader(std::shared_ptr<memory_pool> memory) : memory_(std::move(memory)) {}

  /// Blocks until the matrix is on the card. Errors: out_of_memory, device_lost.
  result<compute::weight_ptr> load(const compute::matrix_view& from, compute::weight_use use);
  load_totals totals() const { return {bytes_, us_, bus_us_}; }

 private:
  static constexpr uint64_t staging_bytes = uint64_t{4} << 20;
  struct staging {
    block memory;
    mark_ptr begun, sent;
    bool under_way = false;
  };
  using stagings = std::array<staging, 2>;

  result<stagings> take();
  void give_back(stagings used);
  result<void> send(const compute::matrix_view& from, bool panels, uint64_t unit_bytes,
                    uint64_t units, std::byte* to, stagings& by);
  result<void> arrived(staging& s);

  std::shared_ptr<memory_pool> memory_;
  std::mutex mutex_;
  std::vector<stagings> idle_;
  std::atomic<uint64_t> bytes_{0}, us_{0}, bus_us_{0};
};

} // namespace coel::gpu
