// Opens a card, where this build has any.
#include "gpu/device.hpp"
#include "gpu/limits.hpp"

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

} // namespace coel::gpu
