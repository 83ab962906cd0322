// Whether a model's bytes are on this node's disk: always, unless it is being fetched from peers.
#pragma once

#include "model/mirror.hpp"
#include "model/mirror_tensors.hpp"

namespace coel::model {

/// Thread-safe. To be asked before a matrix of the source is read: what is not here reads as zeros.
class byte_presence {
 public:
  virtual ~byte_presence() = default;
  virtual bool present(const tensor_key& key) const = 0;
  /// A routed expert, or a slice of the shared expert.
  virtual bool present(expert_key key) const = 0;
  /// What to fetch so that the expert becomes present.
  virtual std::vector<chunk_id> missing(expert_key key) const = 0;
};
using byte_presence_ptr = std::shared_ptr<const byte_presence>;

/// Of a model in ordinary files.
byte_presence_ptr all_present();

byte_presence_ptr presence_in(std::shared_ptr<const mirror> from, tensor_places places);

/// For a loader: success if the expert may be read. Errors: expert_not_here, saying how much of it
/// is missing.
result<void> require_present(const byte_presence& presence, expert_key key);

} // namespace coel::model
