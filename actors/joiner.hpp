// JOINER actor: makes this node part of its cluster's models (see interfaces.hpp, docs/mirror.md).
#pragma once

#include "actors/fetcher.hpp"
#include "actors/hosting.hpp"
#include "actors/library.hpp"

#include <deque>
#include <filesystem>

namespace coel::actors {

struct joiner_config {
  std::filesystem::path folder;   ///< of mirrors
  std::vector<std::string> names; ///< models to join; empty: all of the cluster
  std::string cluster;            ///< its public key: mirrors of other clusters are left alone
  perception_actor perception;
  updater_actor updater; ///< knows how many experts are still to come
  hosted_models_ptr models;
  kept_models_ptr kept;
  tier_actor ram;
  compute::device_ptr device;
  hosting_config hosting;
  uint32_t chunks_per_peer = 2;
  uint32_t piece_bytes = 64 << 10;
  /// Told of progress and of failures, a line each; may be empty.
  std::function<void(const std::string& line)> event;
};

struct joiner_state {
  static inline const char* name = "joiner";

  /// A model on its way here.
  struct joining {
    std::string name;
    std::deque<neighbour_actor> to_ask; ///< for the manifest
    std::vector<std::byte> manifest;
    fetcher_actor fetcher; ///< once there is a mirror
    model::mirror_ptr mirror;
    bool hosted = false;
    uint64_t expert_bytes = 0; ///< of one, once it is hosted
    uint32_t wanted = 0;       ///< experts that the updater will ask for later
    std::optional<error> failed;
    steady::time_point retry{}; ///< after a failure
    fetch_status told;
    steady::time_point told_at{};
  };

  joiner_config config;
  std::map<hash256, joining> models;
  meter cost;
};

/// Opens files and loads weights: spawn it detached.
joiner_actor::behavior_type joiner(joiner_actor::stateful_pointer<joiner_state> self,
                                   joiner_config config);

} // namespace coel::actors
