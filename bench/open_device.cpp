#include "bench/open_device.hpp"

#include "gpu/device.hpp"

namespace coel::bench {

result<compute::device_ptr> open_device(const options& o) {
  if (o.runs_on == device_kind::gpu)
    return gpu::make_device({o.card, 0});
  return cpu::make_device(o.device);
}

} // namespace coel::bench
