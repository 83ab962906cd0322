// Prefers experts that are near over slightly better ones far away, within a bound on the gate
// probability that is given up. Off by default (bound 0): then the router's choice is never
// changed. What it costs in quality is not the lost probability but perplexity, to be measured by
// model.
#pragma once

#include <cstdint>
#include <span>

namespace coel::policy {

/// One row. `probability` [experts] of the router; `ids` and `weights` [top_k] are the router's
/// choice and are replaced if another set loses at most `bound` of its probability and needs no
/// node outside: first experts for which `local` is set, then those for which `near` is (local, or
/// on nodes that this layer asks anyway). `renormalised`: the model scales weights to sum to 1.
/// True if the choice was changed; weights are then true probabilities, scaled like the model's.
bool prefer_near(std::span<const float> probability, std::span<const uint8_t> local,
                 std::span<const uint8_t> near, double bound, bool renormalised,
                 std::span<int32_t> ids, std::span<float> weights);

} // namespace coel::policy
