// What an updater says of its node: to neighbours (the record), to HELLO, and to who asks for the
// placement. Nothing here sends a message.
#pragma once

#include "actors/updater.hpp"

namespace coel::actors {

/// With a version one higher than the one told last.
node_record record_now(const updater_state& st);

/// The device's idle part, and room for experts; `device_busy` is a part of 1.
policy::node_load load_now(const updater_state& st, double device_busy);

placement_status placement_now(const updater_state& st, const placed_model& m);

} // namespace coel::actors
