// What the node computes on.
#pragma once

#include "apps/node/options.hpp"

namespace coel::app {

/// The CPU, or with --gpu a card and the CPU beside it. Errors: bad_argument, unsupported (no card,
/// no driver, a build without CUDA), device_lost.
result<compute::device_ptr> open_device(const node_options& o);

} // namespace coel::app
