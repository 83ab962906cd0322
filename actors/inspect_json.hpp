// The inspector's documents (docs/inspect.md). Pure: values in, JSON text out.
#pragma once

#include "actors/messages.hpp"
#include "actors/served_model.hpp"

namespace coel::actors {

struct node_facts {
  std::string version;
  double uptime_s = 0;
  std::string device;
  uint32_t threads = 0;
  bool draining = false;
  uint64_t requests = 0;
  uint64_t errors = 0;
};

struct model_facts {
  served_model_ptr model;
  scheduler_status scheduler;
  uint64_t bytes = 0;                        ///< weights in memory
};

std::string status_json(const node_facts& node, const std::vector<model_facts>& models, const std::vector<tier_status>& tiers);
std::string actors_json(const std::vector<component_status>& actors);
std::string experts_json(const model_facts& model, const std::vector<expert_status>& experts);
std::string sessions_json(const std::vector<model_facts>& models);
std::string memory_json(const std::vector<tier_status>& tiers);
std::string trace_json(request_id request, const std::vector<token_trace>& tokens);
/// Prometheus text format, as {"text": ...}.
std::string metrics_json(const node_facts& node, const std::vector<model_facts>& models, const std::vector<tier_status>& tiers);

} // namespace coel::actors
