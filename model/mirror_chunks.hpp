// Which chunks of a model somebody has: on disk, and as a peer announces it.
#pragma once

#include "model/manifest.hpp"

namespace coel::model {

class chunk_set {
 public:
  explicit chunk_set(uint32_t chunks = 0) : bits_((chunks + 7) / 8), chunks_(chunks) {}
  static chunk_set all(uint32_t chunks);

  /// Bit i of the bytes, lowest first, is chunk i. Errors: bad_file (wrong length, bits beyond the
  /// last chunk).
  static result<chunk_set> decode(std::span<const std::byte> bytes, uint32_t chunks);
  const std::vector<std::byte>& encode() const { return bits_; }

  uint32_t size() const { return chunks_; }
  uint32_t count() const { return count_; }
  bool full() const { return count_ == chunks_; }
  bool has(chunk_id chunk) const;
  bool has_all(chunk_span span) const;
  /// Chunks outside the model are ignored.
  void add(chunk_id chunk);
  void remove(chunk_id chunk);

 private:
  std::vector<std::byte> bits_;
  uint32_t chunks_ = 0;
  uint32_t count_ = 0;
};

} // namespace coel::model
