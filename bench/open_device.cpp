#include "bench/open_device.hpp"

#include "actors/node_device.hpp"
#include "gpu/device.hpp"

namespace coel::bench {

result<compute::device_ptr> open_device(const options& o) {
  if (o.runs_on != device_kind::gpu)
    return cpu::make_device(o.device);
  auto card = gpu::make_device({o.card, o.gpu_bytes});
  if (!card || (!o.gpu_bytes && !o.card_share))
    return card;
  auto beside = cpu::make_device(o.device);
  if (!beside)
    return beside;
  return actors::make_node_device(*card, *beside);
}

} // namespace coel::bench
