// The device of a node with a card: the card, and the CPU beside it for experts that it has no room
// for. Which of these are copied over for a step is chosen by what copies and runs were seen to
// take (policy/copy_over.hpp).
#pragma once

#include "compute/device.hpp"

namespace coel::actors {

compute::device_ptr make_node_device(compute::device_ptr card, compute::device_ptr beside);

} // namespace coel::actors
