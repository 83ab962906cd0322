// Steps of few rows through layers of which every expert lies in the device's own memory: one list
// from the embedding to the last layer, without a message or a round trip to the host between
// layers. Gates, which spread rows over places, have nothing to decide there.
#pragma once

#include "actors/messages.hpp"
#include "actors/served_model.hpp"

#include <optional>

namespace coel::actors {

/// Nothing where an expert is elsewhere, or the device does not run experts by their ids.
std::optional<compute::command_list> whole_step(const served_model& m, const layers_work& work);

/// Once that list has run: what its routers chose, [layers, rows, top_k]; counted as used.
std::vector<int32_t> chosen_by(const served_model& m, const layers_work& work);

} // namespace coel::actors
