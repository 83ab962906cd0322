#include "apps/node/open_device.hpp"

#include "actors/node_device.hpp"
#include "gpu/device.hpp"

namespace coel::app {

result<compute::device_ptr> open_device(const node_options& o) {
  auto cpu = cpu::make_device(o.device);
  if (!cpu || o.gpu_bytes == 0)
    return cpu;
  auto cards = gpu::make_devices(o.cards, o.gpu_bytes);
  if (!cards)
    return cards.err();
  return actors::make_node_device(std::move(*cards), *cpu);
}

} // namespace coel::app
