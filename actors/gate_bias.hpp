// The local bias (policy/expert_bias, off by default): what a routed batch asks of the experts
// after near ones were preferred within a bound. Changes answers; pure.
#pragma once

#include "actors/gate_rows.hpp"

namespace coel::actors {

/// As rows_by_expert. Near are experts here, and those on nodes that this layer asks anyway: for
/// slices of the shared expert, or for rows before. Reads the router's logits from the device.
std::vector<expert_rows> near_rows_by_expert(const served_model& m, const layer_work& work,
                                             const policy::routing_table& table, node_id self,
                                             double bound);

} // namespace coel::actors
