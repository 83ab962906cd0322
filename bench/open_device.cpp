#include "bench/open_device.hpp"

#include "actors/node_device.hpp"
#include "gpu/device.hpp"

namespace coel::bench {

result<compute::device_ptr> open_device(const options& o) {
  if (o.runs_on != device_kind::gpu)
    return cpu::make_device(o.device);
  auto cards = gpu::make_devices(o.cards, o.gpu_bytes);
  if (!cards)
    return cards.err();
  if (cards->size() == 1 && !o.gpu_bytes && !o.card_share)
    return cards->front();
  auto beside = cpu::make_device(o.device);
  if (!beside)
    return beside;
  return actors::make_node_device(std::move(*cards), *beside);
}

} // namespace coel::bench
