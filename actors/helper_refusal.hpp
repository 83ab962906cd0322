// What a node says to an application that asks it for a model which it only helps to run.
#pragma once

#include "actors/messages.hpp"

namespace coel::actors {

/// Code helper_only. Names the nodes that answer for the model now, with their endpoints, or says
/// what to do where there is none; `why` tells why this node does not.
error helper_refusal(const std::string& model, const hash256& hash, const std::string& why,
                     const std::vector<member>& members);

} // namespace coel::actors
