// Several nodes in this process, linked over loopback as they would be over a LAN.
#pragma once

#include "actors/node.hpp"
#include "cpu/device.hpp"

#include <caf/all.hpp>

#include <filesystem>
#include <functional>

namespace coel::testing {

inline const std::filesystem::path demo_model =
    std::filesystem::path(COEL_SOURCE_DIR) / "models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf";

/// The demo model in F16, for as long as the program runs: activations are not rounded to 8 bits
/// then, so who adds up what hardly matters, and greedy answers of any placement are the same.
const std::filesystem::path& demo_model_f16();

/// What a node of the tests takes for a model: dense part, KV, buffers, and that share of the
/// experts.
uint64_t memory_for(const std::filesystem::path& model, double share);

struct node_options {
  std::filesystem::path model = demo_model;
  double share = 1; ///< of all experts, that fit into a node's memory
  net::wire_type wire = net::wire_type::f32;
  std::chrono::milliseconds missing_patience{20000};
  bool homing = false;   ///< else what a test counts may be at another node
  bool start_all = true; ///< false: the test starts them one by one
  /// Changes what node i is started with.
  std::function<void(size_t i, actors::node_config&)> adjust;
  /// Puts something in the place of node i's device.
  std::function<compute::device_ptr(size_t i, compute::device_ptr)> device;
};

class test_cluster {
 public:
  explicit test_cluster(size_t nodes, node_options options = {});
  ~test_cluster();

  /// Starts node i (again); waits for nothing.
  void start(size_t i);
  /// As kill -9 does: no goodbye.
  void kill(size_t i);

  const std::filesystem::path& folder() const { return folder_; }
  caf::actor_system& system(size_t i) { return *nodes_[i].system; }
  actors::node& node(size_t i) { return *nodes_[i].running; }
  size_t size() const { return nodes_.size(); }
  /// The first model of node i, or another of those that it runs.
  const actors::hosted_model& model(size_t i, size_t which = 0) {
    return node(i).models()->at(which);
  }

  /// Waits until every running node is linked to all others and all experts are held.
  void settle();
  /// States of node i's links, for failure texts.
  std::string links(size_t i);
  /// What node i knows of the placement of its models, by name.
  actors::placement_status placement(size_t i, const std::string& name = "tiny");

  /// Logits of every row of the tokens, [tokens, vocab], with node i as home.
  result<std::vector<float>> logits(size_t i, const std::vector<int32_t>& tokens, size_t which = 0);
  actors::network_totals network(size_t i, size_t which = 0);

  /// Polls until it holds; fails the test after 30 s, saying what was waited for.
  static void wait_for(const std::function<std::string()>& what,
                       const std::function<bool()>& holds);

 private:
  struct one {
    compute::device_ptr device;
    std::unique_ptr<caf::actor_system_config> config;
    std::unique_ptr<caf::actor_system> system;
    std::unique_ptr<actors::node> running;
    std::string address;
  };
  node_options options_;
  std::filesystem::path folder_;
  std::vector<one> nodes_;
  uint64_t ram_bytes_ = 0;
};

} // namespace coel::testing
