// A node: its models loaded, its actors running, its socket open.
#pragma once

#include "actors/app_socket.hpp"
#include "actors/inspector.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <functional>

namespace coel::actors {

struct model_choice {
  std::filesystem::path path;
  std::string name;                         ///< empty: the model's own name
};

struct node_config {
  std::vector<model_choice> models;
  net::app_server_options server;
  uint64_t ram_bytes = 0;                   ///< budget of weights, KV and buffers; 0: no limit
  uint64_t kv_bytes = 0;                    ///< KV of each model; 0: default_kv_bytes
  uint32_t max_sessions = 64;
  uint32_t max_queue = 256;
  uint32_t max_rows = 512;                  ///< rows of a step
  uint32_t slice_rows = 128;                ///< prompt rows of a step in which others decode
  uint32_t default_deadline_ms = 600'000;
  std::filesystem::path record_routing;     ///< empty: not recorded
  std::string version;
};

/// Settings of the actor system that the measurements in docs/architecture.md ask for.
void configure(caf::actor_system_config& config);

/// Called while a model loads, with bytes of experts done and in total.
using load_progress = std::function<void(const std::string& model, uint64_t done, uint64_t total)>;

class node {
 public:
  /// Loads every model and opens the socket. Errors: those of open_model, out_of_memory with what is
  /// missing, io (socket).
  static result<std::unique_ptr<node>> start(caf::actor_system& system, compute::device_ptr device,
                                             const node_config& config, const load_progress& progress = {});
  ~node();                                  ///< stops at once: requests still running are lost

  /// Refuses new work and waits for the running requests; false if they took longer.
  bool drain(std::chrono::milliseconds patience);

  const std::vector<std::string>& endpoints() const;
  /// For tools in the same process: the way apps take, without the socket.
  const std::vector<served>& models() const { return served_; }
  /// Experts of a model by layer, then expert_id.
  const std::vector<expert_actor>& experts(size_t model) const { return experts_[model]; }

 private:
  node(caf::actor_system& system) : system_(system) {}
  result<void> load(const node_config& config, compute::device_ptr device, const load_progress& progress);
  result<void> serve(const node_config& config, const compute::device_ptr& device);
  template <class Handle>
  Handle keep(Handle actor);

  caf::actor_system& system_;
  std::vector<caf::strong_actor_ptr> actors_;   // in order of start
  std::vector<served> served_;
  std::vector<inspected_model> inspected_;
  std::vector<std::vector<expert_actor>> experts_;
  tier_actor ram_;
  app_socket_actor socket_;
  std::shared_ptr<net::app_server> server_;
  /// Memory that a list in flight may use when the actors have already gone.
  std::vector<model::step_buffers> buffers_;
  std::vector<compute::kv_cache_ptr> caches_;
  compute::device_ptr device_;
  steady::time_point started_ = steady::now();
};

} // namespace coel::actors
