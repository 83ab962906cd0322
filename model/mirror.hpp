// A copy of a model's files on this node's disk, with holes where nothing has been fetched yet.
// docs/mirror.md tells what lies where and what is verified when.
#pragma once

#include "model/manifest_io.hpp"
#include "model/mirror_chunks.hpp"

#include <memory>
#include <mutex>

namespace coel::model {

/// Thread-safe. One process at a time has it open.
class mirror {
 public:
  /// Opens or makes `models`/HASH, where HASH is the manifest's.
  /// Errors: io; busy (another process has it, named).
  static result<std::shared_ptr<mirror>> open(const std::filesystem::path& models,
                                              const manifest& description);
  /// What an earlier start has left in `folder`: needs no peer. Errors: as open; bad_file.
  static result<std::shared_ptr<mirror>> reopen(const std::filesystem::path& folder);
  ~mirror();
  mirror(const mirror&) = delete;
  mirror& operator=(const mirror&) = delete;

  const manifest& description() const { return description_; }
  const std::filesystem::path& folder() const { return folder_; }

  /// Whether all bytes of the range are here; a range outside its file is not.
  bool has(const byte_range& range) const;
  bool has(chunk_id chunk) const;
  /// Chunks still to be fetched for a range inside its file, in order.
  std::vector<chunk_id> missing(const byte_range& range) const;
  uint64_t missing_bytes() const;
  /// Whether the folder is a model like any other by now.
  bool complete() const;
  /// What to announce to peers.
  chunk_set present() const;

  /// Checks the bytes against the manifest, then writes them; a chunk that is here is left alone.
  /// Errors: bad_file (wrong bytes: nothing was written); io (also: the disk is full).
  result<void> store(chunk_id chunk, std::span<const std::byte> bytes);

  /// The bytes of a chunk that is here, for a peer. Errors: bad_argument, io.
  result<std::vector<std::byte>> read(chunk_id chunk) const;

  /// Reads a chunk again; false, and it is missing from now on, if the disk has changed it.
  result<bool> verify(chunk_id chunk);

  /// Chunks stored so far survive a loss of power from here on. Done by itself every few chunks
  /// and by the destructor.
  result<void> record();

 private:
  mirror(std::filesystem::path folder, manifest description, file_handle lock);
  static result<std::shared_ptr<mirror>> take(const std::filesystem::path& folder,
                                              const manifest* description);
  result<void> prepare();
  result<void> prepare_files();
  result<void> write_bits(const chunk_set& set);
  error not_stored(chunk_id chunk, const error& why, int code) const;

  const std::filesystem::path folder_;
  const manifest description_;
  file_handle lock_;
  std::vector<file_handle> files_;
  std::vector<file_handle> bits_; // one; empty until prepare has opened it

  mutable std::mutex changing_;      // guards the three below; never held during I/O
  chunk_set here_;                   // verified and written
  std::vector<chunk_id> unrecorded_; // of these, not yet in the file of bits
  std::mutex recording_;             // one at a time; taken before changing_
  chunk_set recorded_;
};
using mirror_ptr = std::shared_ptr<mirror>;

/// Refuses a folder of models, or a file in it, that a mirror has not filled yet: it would be read
/// as zeros. Errors: bad_file, saying how much is missing.
result<void> refuse_unfinished_mirror(const std::filesystem::path& path);

} // namespace coel::model
