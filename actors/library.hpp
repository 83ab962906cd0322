// LIBRARY actor: lends parts of model files to neighbours (see interfaces.hpp).
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "model/manifest_files.hpp"
#include "model/mirror.hpp"

#include <deque>
#include <map>
#include <mutex>

namespace coel::actors {

/// A model's files on this node: all of them, or a mirror that is being filled.
struct kept_model {
  std::shared_ptr<const model::manifest> manifest;
  std::vector<model::model_file> files;
  model::mirror_ptr mirror; ///< null: the files are complete
};

/// Which models' files are here, by hash. Thread-safe.
class kept_models {
 public:
  void add(kept_model one) {
    std::lock_guard lock(mutex_);
    auto hash = one.manifest->hash();
    all_[hash] = std::make_shared<const kept_model>(std::move(one));
  }
  std::shared_ptr<const kept_model> find(const hash256& hash) const {
    std::lock_guard lock(mutex_);
    auto at = all_.find(hash);
    return at == all_.end() ? nullptr : at->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<hash256, std::shared_ptr<const kept_model>> all_;
};
using kept_models_ptr = std::shared_ptr<kept_models>;

struct library_state {
  static inline const char* name = "library";

  /// Read lately: neighbours ask for chunks piece by piece, several of them at once.
  struct read_chunk {
    hash256 model{};
    model::chunk_id chunk{};
    std::vector<std::byte> bytes;
  };

  kept_models_ptr models;
  std::deque<read_chunk> read; ///< newest first
  meter cost;
};

/// Blocks on the disk: spawn it detached.
library_actor::behavior_type library(library_actor::stateful_pointer<library_state> self,
                                     kept_models_ptr models);

} // namespace coel::actors
