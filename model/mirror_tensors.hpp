// Where in a model's files each tensor and each expert lies.
#pragma once

#include "model/manifest.hpp"
#include "model/source.hpp"

#include <map>

namespace coel::model {

class tensor_places {
 public:
  /// Reads the headers once more, of the files that `opened` was opened from; they must be those
  /// that the manifest describes. Errors: those of open_model; bad_file (other files).
  static result<tensor_places> find(const source& opened, const manifest& description);

  /// The whole tensor; of an expert, its own slice. Errors: bad_file (no such tensor).
  result<byte_range> of(const tensor_key& key) const;

  /// What loading a routed expert or a slice of the shared expert reads; ids as in weights.hpp. A
  /// slice takes columns of the down matrix, hence all of its bytes.
  result<std::vector<byte_range>> of_expert(expert_key key) const;

  /// What every node needs that runs whole tokens: all but the experts.
  const std::vector<byte_range>& dense() const { return dense_; }

 private:
  void add(const tensor_key& key, const byte_range& range);
  static uint64_t slot(const tensor_key& key);
  std::map<uint64_t, byte_range> ranges_;
  std::vector<byte_range> dense_;
  uint32_t routed_ = 0;
  uint32_t slices_ = 0;
};

} // namespace coel::model
