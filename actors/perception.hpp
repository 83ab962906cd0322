// PERCEPTION actor: who is near and who of them is a member (see interfaces.hpp).
//
// What is heard on the network proves nothing: it can only make this node open a connection, which
// the handshake refuses to everybody without the cluster's key. Who a neighbour is, its key says.
#pragma once

#include "actors/hosted_models.hpp"
#include "actors/interfaces.hpp"
#include "actors/link_directory.hpp"
#include "actors/meter.hpp"
#include "net/link_frames.hpp"
#include "net/link_sender.hpp"

#include <set>

namespace coel::actors {

struct perception_config {
  net::sender_options to; ///< of every link, but for its endpoint
  net::greeting_frame own;
  std::shared_ptr<zmq::context_t> context;
  link_directory_ptr directory;
  hosted_models_ptr models;
  library_actor library;
  net::wire_type wire = net::wire_type::f16;
  std::vector<std::string> peers;                     ///< "host:port" to be looked for always
  std::set<std::string> expelled;                     ///< keys
  std::function<void(const std::string& key)> refuse; ///< makes the receiver refuse that key
  /// A link to that endpoint is up or no longer: HELLOs keep such neighbours in their table.
  std::function<void(const std::string& endpoint, bool up)> connected;
  size_t max_links = 64;
  std::chrono::seconds stranger_patience{20}; ///< for somebody who was heard to become a member
  std::chrono::seconds forget_after{120};     ///< a member that is down and not heard
};

struct perception_state {
  static inline const char* name = "perception";

  struct neighbour {
    neighbour_actor link;
    std::string endpoint;
    std::string key; ///< empty: has not proved one yet
    node_id id{};
    uint64_t nonce = 0; ///< that its answer will echo
    uint64_t boot = 0;
    bool up = false;
    std::string name;
    std::shared_ptr<const node_record> record;
    steady::time_point heard;
  };

  perception_config config;
  std::map<uint64_t, neighbour> neighbours; ///< by serial of the link
  std::map<std::string, node_id> ids;       ///< by key; never given twice
  std::set<std::string>
      aliases;                 ///< endpoints of somebody who is linked by another, or of this node
  std::set<std::string> fixed; ///< endpoints of configured peers
  caf::weak_actor_ptr updater;
  std::shared_ptr<const std::vector<std::byte>> record; ///< this node's, packed
  uint64_t serials = 0;
  uint64_t refused_strangers = 0;
  meter cost;
};

perception_actor::behavior_type
perception(perception_actor::stateful_pointer<perception_state> self, perception_config config);

} // namespace coel::actors
