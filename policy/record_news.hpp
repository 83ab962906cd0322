// Whether a node's record says more than the one that its neighbours have.
#pragma once

#include "common/node_record.hpp"

namespace coel::policy {

/// Small swings of speed and memory are not worth a message. `chunks_too`: nor is, where that is
/// not set, a part more of a model's files that is still being fetched.
bool says_more(const node_record& now, const node_record& told, bool chunks_too);

} // namespace coel::policy
