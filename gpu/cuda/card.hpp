// Cards through the CUDA runtime. Every call is checked; a failure that the card does not survive
// (reset, fallen off the bus, a kernel that failed) is device_lost, and all later calls fail so.
#pragma once

#include "gpu/card.hpp"

#include <vector>

namespace coel::gpu {

/// Errors: unsupported (no driver, a driver that is too old for this build, no card).
result<std::vector<card_info>> cuda_cards();

/// Errors: as cuda_cards; bad_argument; unsupported (the kernels were not built for it).
result<card_ptr> open_cuda_card(uint32_t number);

} // namespace coel::gpu
