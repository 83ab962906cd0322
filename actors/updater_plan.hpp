// What an updater decides from what it knows: how much of each model has room here, what should be
// held, what goes for it and what comes first. Changes state; sends no message.
#pragma once

#include "actors/updater.hpp"

namespace coel::actors {

/// Models that came since the last look.
void adopt_models(updater_state& st);

/// Memory for experts: what the parts that every token needs leave.
void measure_room(updater_state& st);

/// Made anew where the members' room or the use of experts has changed.
void make_plan(updater_state& st, placed_model& m);

/// How much this home decodes, from how many tokens it has routed by now.
void count_tokens(placed_model& m, uint64_t routed);

/// Experts that others hold and the plan gives to others make room for as many that come.
void make_room(const updater_state& st, placed_model& m, size_t coming);

/// Experts to load, the most urgent first.
std::vector<size_t> in_order_of_need(const updater_state& st, const placed_model& m);

} // namespace coel::actors
