// Opens a card, where this build has any.
#include "gpu/device.hpp"
#include "gpu/limits.hpp"

#include <algorithm>

#if defined(COEL_CUDA)
#include "gpu/cuda/card.hpp"
#endif

namespace coel::gpu {

#if defined(COEL_CUDA)

result<std::vector<card_info>> usable_cards() {
  return cuda_cards();
}

result<card_ptr> open_card(uint32_t number) {
  return open_cuda_card(number);
}

#else

namespace {

error without_cuda() {
  return {ec::unsupported, "this build has no GPU support: install the CUDA toolkit 12 or 13 and "
                           "build again, or leave out --gpu"};
}

} // namespace

result<std::vector<card_info>> usable_cards() {
  return without_cuda();
}

result<card_ptr> open_card(uint32_t) {
  return without_cuda();
}

result<card_limits> measure_limits(uint32_t) {
  return without_cuda();
}

#endif

result<compute::device_ptr> make_device(const device_options& options) {
  auto card = open_card(options.card);
  if (!card)
    return card.err();
  const auto& about = (*card)->info();
  if (options.budget_bytes > about.memory_bytes)
    return {ec::bad_argument, about.name + " has " + std::to_string(about.memory_bytes >> 20) +
                                  " MiB, less than the " +
                                  std::to_string(options.budget_bytes >> 20) +
                                  " MiB asked for: lower --gpu"};
  return make_device(*card, options.budget_bytes, options.graphs);
}

result<std::vector<compute::device_ptr>> make_devices(const std::vector<uint32_t>& cards,
                                                      uint64_t budget_bytes) {
  std::vector<compute::device_ptr> all;
  for (auto i = cards.begin(); i != cards.end(); ++i) {
    if (std::find(cards.begin(), i, *i) != i)
      return {ec::bad_argument, "--card names card " + std::to_string(*i) + " twice"};
    auto made = make_device({*i, budget_bytes});
    if (!made)
      return made.err();
    all.push_back(std::move(*made));
  }
  if (all.empty())
    return {ec::bad_argument, "--card names no card"};
  return all;
}

} // namespace coel::gpu
