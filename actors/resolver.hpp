// Looks up the addresses of configured peers, again and again, on a thread of its own: a name
// server may take seconds, and a peer may move.
#pragma once

#include "actors/interfaces.hpp"

namespace coel::actors {

using resolver_actor = caf::typed_actor<caf::reacts_to<atom::tick>>;

/// Tells perception every endpoint ("tcp://10.0.0.7:7420") that the peers ("host:port") have now.
resolver_actor::behavior_type resolver(resolver_actor::pointer self, std::vector<std::string> peers,
                                       perception_actor perception);

} // namespace coel::actors
