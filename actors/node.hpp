// A node: its models loaded, its actors running, its socket open.
#pragma once

#include "actors/app_socket.hpp"
#include "actors/cluster.hpp"
#include "actors/hosting.hpp"
#include "actors/lower_choice.hpp"
#include "actors/rescue.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <memory>

namespace coel::actors {

struct model_choice {
  std::filesystem::path path;
  std::string name; ///< empty: the model's own name
};

/// Which models of the cluster this node fetches and serves.
struct join_choice {
  bool none = false;
  std::vector<std::string> names;                     ///< empty: all
  std::filesystem::path folder;                       ///< where fetched models lie
  std::function<void(const std::string& line)> event; ///< progress and failures; may be empty
};

struct node_config {
  std::vector<model_choice> models; ///< may be empty in a cluster
  net::app_server_options server;
  uint64_t ram_bytes = 0;  ///< budget of all that this process takes; 0: what is free
  double expert_share = 0; ///< of routed experts in memory, instead of a budget; 0: by the budget
  std::vector<std::filesystem::path>
      stores;         ///< of experts (coel pack), besides those found by name
  lower_choice lower; ///< copies of fewer bits, for misses
  hosting_config hosting;
  std::optional<cluster_config> cluster; ///< none: this node stands alone
  join_choice join;                      ///< in a cluster
  std::filesystem::path cache_folder;    ///< hashes of models; empty: none are kept
  std::filesystem::path state_folder;    ///< what predictors have learnt; empty: it is not kept
  uint32_t default_deadline_ms = 600'000;
  /// The device's own memory is lost. Its models go on on what is left of it (empty), or the node
  /// has no more use, for that reason. May be empty.
  std::function<void(const std::optional<error>& end)> device_lost;
  std::string version;
};

/// Settings of the actor system that the measurements in docs/architecture.md ask for.
void configure(caf::actor_system_config& config);

class node {
 public:
  /// Loads every model and opens the socket. Errors: those of open_model, out_of_memory with what
  /// is missing, io (socket).
  static result<std::unique_ptr<node>> start(caf::actor_system& system, compute::device_ptr device,
                                             const node_config& config,
                                             const load_progress& progress = {});
  ~node(); ///< stops at once: requests still running are lost

  /// Waits until every expert of every model here is held by some node; reports what is loaded
  /// here.
  void wait_until_covered(const load_progress& progress = {});

  /// Refuses new work and waits for the running requests; false if they took longer.
  bool drain(std::chrono::milliseconds patience);

  const std::vector<std::string>& endpoints() const;
  /// Null where this node stands alone.
  const actors::cluster* neighbours() const { return cluster_.get(); }
  /// Null where no models are fetched.
  const joiner_actor& joiner() const { return joiner_; }
  /// For tools in the same process: the way apps take, without the socket.
  std::shared_ptr<const hosted_models::list> models() const { return models_->all(); }
  const hosted_models_ptr& registry() const { return models_; }

 private:
  node(caf::actor_system& system, compute::device_ptr device)
      : system_(system), device_(std::move(device)) {}
  result<std::vector<std::shared_ptr<served_model>>> open_models(const node_config& config,
                                                                 const load_progress& progress);
  result<void> host(const node_config& config,
                    const std::vector<std::shared_ptr<served_model>>& models);
  result<void> load(const load_progress& progress);
  result<void> serve(const node_config& config);
  void watch_device(const node_config& config);
  void start_near(const std::vector<std::shared_ptr<served_model>>& models);
  hosting_config hosting_of(const node_config& config) const;
  void start_joiner(const node_config& config);
  void stop_joiner();
  template <class Handle>
  Handle keep(Handle actor);

  caf::actor_system& system_;
  compute::device_ptr device_;
  std::vector<caf::strong_actor_ptr> actors_; // in order of start
  hosted_models_ptr models_ = std::make_shared<hosted_models>();
  std::unique_ptr<cluster> cluster_;
  joiner_actor joiner_;
  tier_actor ram_;
  tier_actor near_; ///< none: the device has no memory of its own
  app_socket_actor socket_;
  std::shared_ptr<net::app_server> server_;
  steady::time_point started_ = steady::now();
  std::unique_ptr<device_watch> watch_;
};

} // namespace coel::actors
