// A node's part in a cluster: its identity, its receiver, and the actors that deal with neighbours.
#pragma once

#include "actors/hosted_models.hpp"
#include "actors/inspector.hpp"
#include "actors/library.hpp"
#include "actors/link_directory.hpp"
#include "actors/perception_loop.hpp"
#include "actors/planning.hpp"
#include "net/cluster_file.hpp"
#include "net/link_frames.hpp"
#include "net/link_receiver.hpp"

namespace coel::actors {

struct cluster_config {
  std::filesystem::path file;         ///< the cluster file; empty: this node stands alone
  std::filesystem::path state_folder; ///< this node's keys, and models fetched from others
  std::string name;                   ///< for people; empty: the host's
  std::vector<std::string> listen;    ///< addresses; empty: all
  std::vector<std::string> peers;     ///< beside those of the cluster file
  std::optional<uint16_t> link_port;  ///< instead of the file's
  net::wire_type wire = net::wire_type::f16;
  std::optional<uint16_t> hello_port; ///< instead of the file's; 0: no HELLO
  std::chrono::milliseconds missing_patience{30000};
  bool homing = true;          ///< sessions may move to a home that suits them better
  planning_options planning{}; ///< its wire_value_bytes follow from `wire`
};

/// What of a model's files is here, for the record.
model_record files_record(const kept_models& kept, const served_model& m);

class cluster {
 public:
  /// Reads the cluster file, makes this node's keys if it has none, listens. Errors: those of the
  /// file; io naming the port.
  static result<std::unique_ptr<cluster>>
  open(caf::actor_system& system, const cluster_config& config, hosted_models_ptr models);
  ~cluster();

  /// Links to neighbours from now on; `app_endpoints` are told to them. `card`: none, or the tier
  /// of the device's own memory.
  void join(const tier_actor& ram, uint64_t ram_bytes, const tier_actor& card,
            std::vector<std::string> app_endpoints);

  kept_models& kept() { return *kept_; }
  const kept_models_ptr& kept_ptr() const { return kept_; }
  const net::cluster_file& file() const { return file_; }
  const perception_actor& perception() const { return perception_; }
  const updater_actor& updater() const { return updater_; }
  const std::string& name() const { return name_; }
  const std::string& key() const { return own_.public_key; }
  const std::vector<std::string>& endpoints() const { return receiver_->endpoints(); }

  /// What the inspector asks; after join.
  inspected_cluster inspected() const;
  /// Why no HELLO is heard, if so: neighbours must then be configured.
  const std::optional<error>& hello_trouble() const { return hello_trouble_; }

  /// Others no longer count on this node; then says goodbye.
  void leave(const std::string& reason);

 private:
  cluster(caf::actor_system& system, hosted_models_ptr models)
      : system_(system), models_(std::move(models)) {}
  result<void> listen(const cluster_config& config);
  void start_hello(const cluster_config& config);
  void spawn_perception(const cluster_config& config);
  net::greeting_frame greeting(const cluster_config& config) const;
  net::receiver_handler handler();

  caf::actor_system& system_;
  hosted_models_ptr models_;
  kept_models_ptr kept_ = std::make_shared<kept_models>();
  net::cluster_file file_;
  net::key_pair own_;
  std::string name_;
  std::shared_ptr<zmq::context_t> context_ = std::make_shared<zmq::context_t>(1);
  link_directory_ptr directory_ = std::make_shared<link_directory>();
  std::shared_ptr<net::link_receiver> receiver_;
  std::shared_ptr<perception_loop> hello_;
  std::optional<error> hello_trouble_;
  library_actor library_;
  perception_actor perception_;
  updater_actor updater_;
  planning_options planning_;
};

} // namespace coel::actors
