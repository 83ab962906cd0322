// What a model's files are, chunk by chunk: so that bytes from anybody can be checked before they
// are used. Made by manifest_files.hpp, kept and filled by mirror.hpp.
#pragma once

#include "common/ids.hpp"
#include "common/result.hpp"
#include "model/manifest_sha256.hpp"

#include <cstdint>
#include <vector>

namespace coel::model {

inline constexpr uint32_t default_chunk_bytes = 1 << 20;

/// Counts the chunks of all files, in order of the files.
enum class chunk_id : uint32_t {};

struct manifest_file {
  std::string name; ///< plain: letters, digits, '.', '_', '-', '+'; no leading '.'
  uint64_t size = 0;
  std::vector<sha256> chunks; ///< the last may be shorter than chunk_bytes
};

struct byte_range {
  uint32_t file = 0; ///< index into files()
  uint64_t offset = 0;
  uint64_t length = 0;
  bool operator==(const byte_range&) const = default;
};

/// [first, last) of chunks.
struct chunk_span {
  uint32_t first = 0;
  uint32_t last = 0;
};

/// Immutable and always valid: make and decode refuse everything else.
class manifest {
 public:
  /// Files in any order. Errors: bad_file (a name, a size, a count, an order that is refused).
  static result<manifest> make(std::string title, uint32_t chunk_bytes,
                               std::vector<manifest_file> files);

  /// What encode wrote; a peer's bytes are hostile. Takes memory in proportion to them only.
  static result<manifest> decode(std::span<const std::byte> bytes);
  std::vector<std::byte> encode() const;

  /// What the model is called where the manifest was made. Not part of the hash.
  const std::string& title() const { return title_; }
  void retitle(std::string_view title);

  /// SHA-256 of encode() without the title: equal where all bytes and the chunk size are.
  const sha256& hash() const { return hash_; }

  const std::vector<manifest_file>& files() const { return files_; } ///< by name
  uint32_t chunk_bytes() const { return chunk_bytes_; }
  uint32_t chunks() const { return first_.back(); }
  uint64_t bytes() const { return bytes_; }

  /// Where a chunk lies; chunk < chunks().
  byte_range place(chunk_id chunk) const;
  const sha256& digest(chunk_id chunk) const;
  /// "chunk 12 (model.gguf, bytes 12582912 to 13631488)" for messages.
  std::string name_of(chunk_id chunk) const;

  /// Whether the range lies inside its file.
  bool contains(const byte_range& range) const;
  /// The chunks that a contained range touches.
  chunk_span chunks_of(const byte_range& range) const;

 private:
  manifest() = default;
  std::vector<std::byte> encode_files() const;

  std::string title_;
  uint32_t chunk_bytes_ = 0;
  std::vector<manifest_file> files_;
  std::vector<uint32_t> first_; // chunk of each file, then the number of chunks
  uint64_t bytes_ = 0;
  sha256 hash_{};
};

} // namespace coel::model
