// A routed expert of a model of which not all fit, read past the page cache and past its supplier.
#pragma once

#include "actors/served_model.hpp"

namespace coel::actors {

/// Into the device's own memory. Blocks. Errors: io, bad_file (it changed), those of device::load.
result<model::expert_ptr> load_expert_directly(const served_model& m, expert_key key);

} // namespace coel::actors
