// What a device needs of a card: memory, copies, launches in order, and when they are through. One
// implementation is CUDA's (cuda_card.cpp); the tests have one that runs everything on the host.
#pragma once

#include "common/result.hpp"
#include "gpu/kernels.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace coel::gpu {

struct card_info {
  std::string name;                ///< "NVIDIA H100 80GB HBM3"
  uint32_t compute_capability = 0; ///< 90 for 9.0
  uint32_t multiprocessors = 0;
  uint64_t memory_bytes = 0;
};

struct grid {
  uint32_t x = 1, y = 1, z = 1;
};

/// Copies and kernels of one lane run in the order in which they were given; lanes run beside each
/// other.
enum class lane : uint8_t { compute, transfer };

/// When work given so far to a lane is through.
class mark {
 public:
  virtual ~mark() = default;
};
using mark_ptr = std::unique_ptr<mark>;

/// A launch; or a copy, if `bytes` is set.
struct step {
  kernel what = kernel::count;
  grid blocks;
  alignas(16) std::array<std::byte, 128> args{};
  void* to = nullptr;
  const void* from = nullptr;
  uint64_t bytes = 0;
};

/// Steps one after another, made ready to be started together.
class graph {
 public:
  virtual ~graph() = default;
};
using graph_ptr = std::shared_ptr<const graph>;

/// Thread-safe. Errors: out_of_memory (the card refuses, and goes on), device_lost (nothing works
/// any more: reset, off the bus, a kernel that failed), internal (a bug).
class card {
 public:
  virtual ~card() = default;
  virtual const card_info& info() const = 0;

  virtual result<std::byte*> allocate(uint64_t bytes) = 0;
  virtual void release(std::byte* memory) = 0;
  /// Host memory that the card reads and writes too, at the same address.
  virtual result<std::byte*> allocate_host(uint64_t bytes) = 0;
  virtual void release_host(std::byte* memory) = 0;

  /// Either side may be host memory; the copy is asynchronous if that is of allocate_host.
  virtual result<void> copy(lane on, void* to, const void* from, uint64_t bytes) = 0;
  virtual result<void> launch(lane on, kernel k, grid blocks, const void* args) = 0;

  /// Whoever starts one keeps it until it is through.
  virtual result<graph_ptr> make_graph(std::span<const step> steps) = 0;
  virtual result<void> start(lane on, const graph& g) = 0;

  virtual result<mark_ptr> make_mark() = 0;
  virtual result<void> set(mark& m, lane on) = 0;
  virtual result<bool> reached(const mark& m) = 0; ///< never blocks
  virtual result<void> wait(const mark& m) = 0;
  /// Between two marks that are reached.
  virtual result<double> elapsed_us(const mark& from, const mark& to) = 0;
};
using card_ptr = std::shared_ptr<card>;

} // namespace coel::gpu
