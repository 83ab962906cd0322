// A card whose kernels run on the host, one list after another, inside the call that launches them.
#pragma once

#include "gpu/card.hpp"

#include <atomic>
#include <functional>

namespace coel::gpu {

struct emulated_options {
  uint64_t memory_bytes = uint64_t{1} << 30;
  uint32_t multiprocessors = 4;
  uint32_t seed = 1; ///< of the order in which threads run
};

/// What tests look at and change while a device uses the card.
struct emulated_control {
  std::atomic<uint64_t> allocated{0};
  std::atomic<uint64_t> launches{0};
  std::atomic<uint64_t> graphs{0}, replays{0};
  std::atomic<bool> held{false}; ///< marks are not reached
  std::atomic<bool> lost{false}; ///< every call fails
};

card_ptr make_emulated_card(const emulated_options& options = {},
                            std::shared_ptr<emulated_control> control = nullptr);

} // namespace coel::gpu
