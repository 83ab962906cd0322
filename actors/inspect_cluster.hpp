// The inspector's documents about a cluster (docs/inspector.md). Pure: values in, JSON out.
#pragma once

#include "actors/messages.hpp"
#include "actors/perception_loop.hpp"
#include "net/link_refusals.hpp"

#include <nlohmann/json_fwd.hpp>

#include <optional>

namespace coel::actors {

/// A model's network_totals with what is needed to judge them.
struct model_network {
  std::string model;
  network_totals totals;
};

/// What a node that is in a cluster knows of it.
struct cluster_facts {
  std::string name;
  std::string key;
  std::vector<std::string> endpoints; ///< where neighbours may connect
  std::string hello_trouble;          ///< why no HELLO is heard; empty: they are
  std::optional<perception_snapshot> hello;
  net::refusal_counts refused{}; ///< of those who wanted to connect
  std::vector<link_status> links;
  members_ptr members; ///< null: perception did not answer
  std::vector<placement_status> placement;
  std::vector<model_network> network; ///< of models that this node is a home of
};

/// What neighbours cost and bring, a token. A token is a row of a step, of a prompt or an answer.
struct token_costs {
  double rounds = 0;
  double bytes = 0;
  double us = 0;
  double network_share = 0;       ///< of the time: waiting with nothing left to do here
  std::optional<double> alone_us; ///< predicted for this node with all experts; none: not known
};
token_costs token_costs_of(const network_totals& totals);

/// A sentence where this machine alone would be faster, by prediction and by a margin; else empty.
/// `placement`, which may be null, tells whether the model fits it.
std::string cluster_advice(const network_totals& totals, const placement_status* placement);

/// Experts that a node holds and no other node that stays does: it must not be stopped before that
/// is 0.
uint32_t held_alone(const placement_status& placement, size_t node);

/// depth 0: without the map.
std::string cluster_json(const cluster_facts& facts, uint32_t depth);
/// The part of `status`.
nlohmann::json cluster_summary(const cluster_facts& facts);
/// Lines of Prometheus text.
std::string cluster_metrics(const cluster_facts& facts);

/// Names by a node's number here, for traces.
std::map<node_id, std::string> node_names(const members_ptr& members);

/// Who is meant by a name or a key, for drain and expel.
struct named_node {
  bool self = false;
  std::string key;
  std::string name;     ///< empty: not a member now
  neighbour_actor link; ///< invalid: this node, or not a member now
};
/// Empty means this node. Errors: bad_argument that lists the nodes, or tells to give the key.
result<named_node> find_node(const cluster_facts& facts, const std::string& said);

} // namespace coel::actors
