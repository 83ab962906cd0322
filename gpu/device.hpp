// The GPU implementation of compute::device, over any card.
#pragma once

#include "compute/device.hpp"
#include "gpu/card.hpp"

#include <vector>

namespace coel::gpu {

struct device_options {
  uint32_t card = 0;         ///< its number, as usable_cards lists them
  uint64_t budget_bytes = 0; ///< of weights, buffers, KV and scratch together; 0: what the card has
  bool graphs = true;        ///< lists that come again are started as CUDA graphs (graphs.hpp)
};

/// Cards of this machine that can run the kernels, by number. Errors: unsupported, with the reason
/// (built without CUDA, no driver, no card, a card that is too old).
result<std::vector<card_info>> usable_cards();

/// Errors: unsupported (as usable_cards), bad_argument (no card of that number), device_lost.
result<card_ptr> open_card(uint32_t number);
result<compute::device_ptr> make_device(const device_options& options = {});
/// Several cards, each with that budget. Errors: the same; bad_argument (one of them twice).
result<std::vector<compute::device_ptr>> make_devices(const std::vector<uint32_t>& cards,
                                                      uint64_t budget_bytes);

/// Over a card that was opened elsewhere.
compute::device_ptr make_device(card_ptr card, uint64_t budget_bytes, bool graphs = true);

} // namespace coel::gpu
