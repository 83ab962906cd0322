// The device of a node with a card: the card, and the CPU beside it for experts that it has no room
// for. Which of these are copied over for a step is chosen by what copies and runs were seen to
// take (policy/copy_over.hpp).
#pragma once

#include "compute/device.hpp"

#include <vector>

namespace coel::actors {

/// Of several cards the first has all but routed experts, and of those what it has room for; the
/// next ones take the rest, and run it beside.
compute::device_ptr make_node_device(std::vector<compute::device_ptr> cards,
                                     compute::device_ptr beside);

} // namespace coel::actors
