// The devices that every test goes through: one whose kernels run on the host, and a card where
// there is one.
#pragma once

#include "../cpu/support.hpp"
#include "emulated_card.hpp"
#include "gpu/device.hpp"

namespace coel::test {

struct tested_device {
  std::string name;
  compute::device_ptr device;
  bool emulated = false; ///< sizes must be small
};

/// With COEL_GPU_TESTS=card the card alone, if there is one.
std::vector<tested_device> devices();

/// Whether a test of many seconds takes all of its inputs: on a card; and on an emulated one if
/// COEL_GPU_TESTS=all is set.
bool takes_all(const tested_device& d);

/// The card, if there is one; else says once why not.
compute::device_ptr card_or_skip();

compute::device_ptr emulated(uint64_t budget_bytes = 0, uint32_t seed = 1,
                             uint32_t multiprocessors = 4);

/// The scalar kernels of the CPU.
compute::device_ptr reference();

} // namespace coel::test
