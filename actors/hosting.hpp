// Brings a model onto this node: opens it, and spawns the actors that run it.
#pragma once

#include "actors/hosted_models.hpp"
#include "policy/expert_pool.hpp"
#include "policy/replica_rule.hpp"

#include <filesystem>
#include <functional>

namespace coel::actors {

struct hosting_config {
  uint64_t kv_bytes = 0; ///< KV of a model; 0: one full context, more while that is cheap
  uint32_t max_sessions = 64;
  uint32_t max_queue = 256;
  uint32_t max_rows = 512;   ///< rows of a step
  uint32_t slice_rows = 128; ///< prompt rows of a step in which others decode
  std::chrono::milliseconds missing_patience{0};
  double expert_bias = 0; ///< of a row's gate probability, given up for near experts; 0: exact
  double pool_share = policy::usual_pool_share; ///< see policy/expert_pool; 0: nothing is read
  policy::replica_rule replica_choice = policy::replica_rule::trained;
  bool helper_only = false; ///< in a cluster: runs experts for others, answers no application
  std::filesystem::path record_routing; ///< empty: not recorded
  double near_share = 1; ///< of a model's routed experts in the device's own memory, at the most
  tier_actor near;       ///< of memory that the device has to itself; none: it has none
};

/// Its experts may lie in the device's own memory, where there is one. Before its actors are.
void use_near(served_model& model, const hosting_config& config);

/// The tier of what every token needs, KV and buffers.
const tier_actor& pinned_tier(const served_model& model, const tier_actor& ram);

/// The part of a model that every token needs, loaded (a helper needs none of it); no actors yet.
/// Blocks. Errors: those of open_model and device::load.
result<std::shared_ptr<served_model>> open_served_model(const std::filesystem::path& path,
                                                        std::string name,
                                                        const compute::device_ptr& device,
                                                        bool helper_only = false);

/// The same of a model that is open already. Every matrix of its dense part must be readable.
result<std::shared_ptr<served_model>> serve_source(const model::source_ptr& source,
                                                   std::string name,
                                                   const compute::device_ptr& device,
                                                   bool helper_only = false);

/// Takes KV and buffers from the tier's budget and spawns the model's actors; its experts are still
/// absent. Blocks on the tier. Errors: out_of_memory, io (routing file).
result<hosted_model> host_model(caf::actor_system& system, const served_model_ptr& model,
                                const tier_actor& ram, const hosting_config& config,
                                route_view_ptr view);

/// The same where all experts will be loaded here.
result<hosted_model> host_alone(caf::actor_system& system, const served_model_ptr& model,
                                const tier_actor& ram, const hosting_config& config);

/// The same where experts are spread over nodes: nobody holds one until an updater says so. Where
/// KV or buffers do not fit, as where it is told so, this node is a helper of the model only: the
/// bytes of what every token needs then return to the tier.
result<hosted_model> host_in_cluster(caf::actor_system& system, const served_model_ptr& model,
                                     const tier_actor& ram, const hosting_config& config);

/// The helper's part: experts for others. No scheduler, no KV; what every token needs is dropped,
/// but not from the tier's account. `why` is told to those who ask.
hosted_model host_helper(caf::actor_system& system, const served_model_ptr& model,
                         const tier_actor& ram, const hosting_config& config, const error& why);

/// Of a home in a cluster, beside those of its own steps: for layers of neighbours' sessions.
uint64_t stage_buffer_bytes(const model::model_config& config);

/// For logs: that it is a helper, and why.
std::string helper_event(const hosted_model& hosted);

/// Called while experts load, with bytes done and in total.
using load_progress = std::function<void(const std::string& model, uint64_t done, uint64_t total)>;

/// Makes every expert resident and waits, as many as fit in the device's own memory. Errors: the
/// first failure.
result<void> load_experts(caf::actor_system& system, const hosted_model& hosted,
                          const load_progress& progress);

/// Ends the actors; requests still running are lost.
void stop(const hosted_model& hosted);

} // namespace coel::actors
