#include "apps/node/open_device.hpp"

#include "actors/node_device.hpp"
#include "gpu/device.hpp"

namespace coel::app {

result<compute::device_ptr> open_device(const node_options& o) {
  auto cpu = cpu::make_device(o.device);
  if (!cpu || o.gpu_bytes == 0)
    return cpu;
  auto card = gpu::make_device({o.card, o.gpu_bytes});
  if (!card)
    return card.err();
  return actors::make_node_device(*card, *cpu);
}

} // namespace coel::app
