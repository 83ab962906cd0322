// The device that an option names.
#pragma once

#include "bench/options.hpp"

namespace coel::bench {

/// Errors: those of cpu::make_device and gpu::make_device.
result<compute::device_ptr> open_device(const options& o);

} // namespace coel::bench
