// The header of a store of experts (docs/formats.md), and what tells one model from another.
#pragma once

#include "compute/kept_layout.hpp"
#include "model/manifest_sha256.hpp"
#include "model/source.hpp"

#include <array>

namespace coel::model {

struct stored_expert {
  uint64_t offset = 0, bytes = 0; ///< whole pages
  uint64_t checksum = 0;          ///< XXH64
};

struct store_header {
  std::string layout;
  uint64_t source_bytes = 0; ///< of the model's files
  sha256 source_sample{};
  uint32_t layers = 0, experts = 0;
  std::vector<stored_expert> index; ///< [layers, experts]

  /// Whole pages, with a digest of all that stands before it.
  std::vector<std::byte> encode() const;
  uint64_t encoded_bytes() const;
  /// Of a file's first bytes. Errors: bad_file, unsupported (another version); without the file's
  /// name.
  static result<store_header> decode(std::span<const std::byte> bytes);
};

/// How large the whole header is, from its first `store_prefix` bytes. Errors: as decode.
inline constexpr size_t store_prefix = 16;
result<uint64_t> store_header_bytes(std::span<const std::byte> prefix);

/// Where an expert's matrices lie in its piece of a store, and how long that is.
struct store_places {
  std::array<compute::matrix_view, 3> matrices; ///< gate, up, down
  std::array<uint64_t, 3> offsets{};
  uint64_t bytes = 0;
};
result<store_places> places_of(const source& of, const compute::kept_layout& layout,
                               expert_key key);

/// Of sizes, shape, and a page of one matrix of every expert: models that differ in any of these
/// differ here, wherever their files lie and whenever they were copied. Reads these pages.
/// Errors: io, unsupported (the model is in no files).
result<sha256> sample_of(const source& of);

} // namespace coel::model
