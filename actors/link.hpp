// LINK actor: one neighbour (see interfaces.hpp). Owns the connection that this node opened to it;
// what the neighbour sends comes by the node's receiver. net/link_handshake.hpp says when it is up.
#pragma once

#include "actors/hosted_models.hpp"
#include "actors/meter.hpp"
#include "net/link_handshake.hpp"
#include "net/link_sender.hpp"
#include "policy/perception_links.hpp"

#include <optional>
#include <unordered_map>

namespace coel::actors {

struct link_config {
  uint64_t serial = 0; ///< of this link, for perception
  node_id id{};
  net::sender_options to;
  net::greeting_frame own;
  std::shared_ptr<zmq::context_t> context;
  perception_actor perception;
  hosted_models_ptr models;
  library_actor library;
  net::wire_type wire = net::wire_type::f16;
  size_t max_pending = 256; ///< dispatches; more fail with busy
  size_t max_guests = 64;   ///< sessions of the neighbour that are decoded here
  size_t max_served = 16;   ///< parts of files that the neighbour may wait for; more are refused
};

struct link_state {
  static inline const char* name = "link";

  template <class Answer>
  struct pending {
    caf::typed_response_promise<Answer> promise;
    steady::time_point sent, until;
    uint64_t bytes = 0;            ///< of the question
    uint32_t rows = 0, hidden = 0; ///< of the answer, if it is a sum
  };

  link_config config;
  std::optional<net::link_handshake> handshake;
  std::optional<net::link_sender> sender;
  std::unordered_map<uint64_t, pending<partial_sum>> sums;
  std::unordered_map<uint64_t, pending<file_block>> blocks;
  std::unordered_map<uint64_t, pending<bool>> opens;        ///< rooms for sessions
  std::unordered_map<uint64_t, caf::strong_actor_ptr> away; ///< sessions that are decoded there
  std::unordered_map<uint64_t, session_actor> guests;       ///< its sessions that are decoded here
  std::shared_ptr<const std::vector<std::byte>> record;     ///< this node's, to be told
  uint64_t announced = 0;                                   ///< nonce that perception knows
  uint64_t next = 0;
  uint64_t ticks = 0;
  size_t serving = 0; ///< parts of files asked of the library for the neighbour
  policy::goodput_estimator goodput;
  link_counts counts;
  std::string peer_name;
  meter cost;
};

using link_ptr = neighbour_actor::stateful_pointer<link_state>;

neighbour_actor::behavior_type link(link_ptr self, link_config config);

// For the parts of the actor (link_questions, link_service, link_stages):

/// "node n2", or its endpoint as long as it has not said its name.
std::string who(const link_state& st);
bool is_up(const link_state& st);
/// False: the connection is full or gone.
bool send(link_state& st, zmq::message_t message);

} // namespace coel::actors
