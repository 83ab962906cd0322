// The one interface to hardware. cpu/ and gpu/ implement it; nothing above knows which it is.
#pragma once

#include "common/result.hpp"
#include "compute/matrix.hpp"
#include "compute/ops.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace coel::compute {

/// A block of device memory; freed with the last owner.
class buffer {
 public:
  virtual ~buffer() = default;
  virtual std::byte* data() const = 0;
  virtual size_t size_bytes() const = 0;
  float* f32() const { return reinterpret_cast<float*>(data()); }
  int32_t* i32() const { return reinterpret_cast<int32_t*>(data()); }
};
using buffer_ptr = std::shared_ptr<buffer>;

/// A matrix in the device's own layout, immutable.
class weight {
 public:
  virtual ~weight() = default;
  virtual dtype type() const = 0;
  virtual uint32_t rows() const = 0;
  virtual uint32_t cols() const = 0;
  /// Bytes of device memory it holds (0 when it reads a file mapping in place).
  virtual size_t resident_bytes() const = 0;
};
using weight_ptr = std::shared_ptr<const weight>;

enum class weight_use : uint8_t {
  project, ///< used by project and run_experts
  lookup,  ///< used by embed: single rows are read
  /// Used by run_experts only. A device with two kinds of memory (compute/tandem.hpp) keeps it in
  /// the larger, slower one; for all others it is as `project`.
  far_expert,
};

/// The three matrices of an expert as they are loaded.
struct expert_views {
  matrix_view gate, up, down;
};

struct kv_shape {
  uint32_t layers = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t page_tokens = 32; ///< tokens of one page
  uint32_t pages = 0;
  /// Bytes of one page: K and V of all layers, f16.
  size_t page_bytes() const {
    return size_t{2} * sizeof(uint16_t) * layers * kv_heads * head_dim * page_tokens;
  }
};

/// Pool of f16 KV pages; who owns which page is decided above the device.
class kv_cache {
 public:
  virtual ~kv_cache() = default;
  virtual const kv_shape& shape() const = 0;
};
using kv_cache_ptr = std::shared_ptr<kv_cache>;

/// Called once when a list has run, on a thread of the device; must be short.
/// `busy_us` is the time the device worked on it, without the time in its queue.
struct completion_info {
  result<void> outcome;
  uint64_t busy_us = 0;
  uint64_t queued_us = 0;
};
using completion = std::function<void(const completion_info&)>;

/// Memory of its own that a device computes in (a card's), and what goes there and back; since
/// start.
struct own_memory_status {
  std::string name; ///< "gpu/NVIDIA H100 80GB HBM3"
  uint64_t budget_bytes = 0;
  uint64_t used_bytes = 0;
  /// Of these, where all but routed experts must be (of several cards: the first).
  uint64_t first_budget_bytes = 0;
  uint64_t first_used_bytes = 0;
  uint64_t busy_us = 0;        ///< its processors
  uint64_t loaded_bytes = 0;   ///< weights brought there
  uint64_t load_us = 0;        ///< that took: packing and copying
  uint64_t bus_us = 0;         ///< of that, they were on their way
  uint64_t split_lists = 0;    ///< lists of which a part ran beside it
  uint64_t beside_us = 0;      ///< experts ran beside it
  uint64_t beside_experts = 0; ///< so many, over all lists
  uint64_t moved_bytes = 0;    ///< rows for these and their sums, there and back
  uint64_t copied_experts = 0; ///< brought there for one list
  bool lost = false;
};

struct device_status {
  std::string name; ///< "cpu/avx512-vnni"
  uint32_t threads = 0;
  uint64_t lists_run = 0;
  uint64_t busy_us = 0;                          ///< since start
  uint32_t queue_depth = 0;                      ///< lists waiting
  uint64_t resident_bytes = 0;                   ///< weights and buffers and KV
  std::optional<own_memory_status> own_memory{}; ///< none: it is the host's
};

enum class memory : uint8_t { device, host_visible };

class device {
 public:
  virtual ~device() = default;

  /// Copies a matrix into the device's layout. Blocks: call from a loading thread. Thread-safe.
  /// Errors: unsupported (type or shape), out_of_memory.
  virtual result<weight_ptr> load(const matrix_view& matrix, weight_use use) = 0;

  /// An expert's matrices, all in one place. Errors: those of load.
  virtual result<std::shared_ptr<const expert_weights>> load_expert(const expert_views& from,
                                                                    weight_use use);

  /// Uninitialised memory, aligned for any operation. Errors: out_of_memory.
  virtual result<buffer_ptr> allocate(size_t bytes, memory where = memory::device) = 0;

  /// Errors: out_of_memory.
  virtual result<kv_cache_ptr> make_kv_cache(const kv_shape& shape) = 0;

  /// Copies between host and a device pointer; blocks. For set-up and tests, not for the hot path.
  virtual void write(void* device_ptr, const void* host, size_t bytes) = 0;
  virtual void read(void* host, const void* device_ptr, size_t bytes) = 0;

  /// Queues a list; lists run one after another in the order of submission.
  virtual void submit(command_list list, completion done) = 0;

  /// Sets working memory for lists aside, beyond what is held already, so that none is refused for
  /// lack of it later; what a list needs is otherwise taken when it comes. Errors: out_of_memory.
  virtual result<void> reserve(size_t /*bytes*/) { return {}; }

  virtual device_status status() const = 0;

  /// Rows that a run_chosen over these experts may have; 0: it runs none of them.
  virtual uint32_t most_chosen_rows(const expert_table& /*experts*/) const { return 0; }

  /// The device that is left when its own memory is lost; null: none.
  virtual std::shared_ptr<device> spare() const { return nullptr; }
};
using device_ptr = std::shared_ptr<device>;

/// Submits and waits; for tools and tests.
result<void> run(device& dev, command_list list);

} // namespace coel::compute
