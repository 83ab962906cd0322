// The inspector's documents (docs/inspector.md). Pure: values in, JSON text out. Text from outside,
// such as a model's name, may hold any bytes: what is not UTF-8 is replaced.
#pragma once

#include "actors/inspect_card.hpp"
#include "actors/inspect_cluster.hpp"
#include "actors/messages.hpp"
#include "actors/served_model.hpp"

#include <optional>

namespace coel::actors {

struct node_facts {
  std::string version;
  double uptime_s = 0;
  std::string device;
  uint32_t threads = 0;
  bool draining = false;
  uint64_t requests = 0;
  uint64_t errors = 0;
  std::optional<card_facts> card{}; ///< none: the device has no memory of its own
};

struct model_facts {
  served_model_ptr model;
  scheduler_status scheduler;
  uint64_t bytes = 0;    ///< weights in memory
  bool home = true;      ///< else a helper only
  std::string no_home{}; ///< why
};

/// What answered of a model's actors.
struct model_actors {
  struct layer {
    std::optional<component_status> gate;
    std::vector<expert_status> experts;
  };
  std::string model;
  std::optional<component_status> scheduler;
  std::vector<layer> layers;
};

struct node_actors {
  std::vector<model_actors> models;
  std::vector<component_status> others; ///< that serve all models
  std::vector<compute::device_status> devices;
};

/// How closely actors are told apart: inspect_request::depth.
enum class actor_depth : uint32_t { kinds, layers, experts };

struct request_trace {
  request_id request{};
  std::string model;
  std::vector<token_trace> tokens;
  component_status socket;                ///< sends what the steps make
  std::map<node_id, std::string> nodes{}; ///< names of neighbours
};

/// `cluster`, here and below: null for a node that stands alone.
std::string status_json(const node_facts& node, const std::vector<model_facts>& models,
                        const std::vector<tier_status>& tiers, const cluster_facts* cluster);
std::string actors_json(const node_actors& actors, actor_depth depth);
std::string experts_json(const model_facts& model, const std::vector<expert_status>& experts);
std::string sessions_json(const std::vector<model_facts>& models);
std::string memory_json(const std::vector<model_facts>& models,
                        const std::vector<tier_status>& tiers);
std::string trace_json(const request_trace& trace);
/// Prometheus text format, as {"text": ...}.
std::string metrics_json(const node_facts& node, const std::vector<model_facts>& models,
                         const std::vector<tier_status>& tiers, const cluster_facts* cluster);

/// A hop where it was in its step. The scheduler notes a gate's dispatch and its experts' run when
/// both are over, and nothing of its own time: the dispatch is put before the run, and what lies
/// between two hops is the scheduler's. What follows the head is the sessions'. In a layer with
/// neighbours the dispatch comes first, then the run beside them, then the wait for the last of
/// them.
struct placed_hop {
  std::string actor; ///< "scheduler", "device", "gate", "experts", "link", "session"
  std::string work;  ///< "plan", "attention", "dispatch", "run", "wait", "sum", "head", "draw"
  std::optional<uint16_t> layer;
  uint32_t at_us = 0;
  uint32_t took_us = 0;
  node_id node{};        ///< a neighbour's: it ran beside the hops of this node
  uint32_t there_us = 0; ///< of a neighbour's: waiting and running there; the rest is the way
};
/// This node's hops rise and do not overlap; a layer's neighbours follow its experts.
std::vector<placed_hop> place_hops(const token_trace& token);

} // namespace coel::actors
