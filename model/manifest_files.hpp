// The manifest of a model that lies here: which files it is made of, and their hashes.
#pragma once

#include "model/manifest.hpp"

#include <filesystem>
#include <functional>

namespace coel::model {

/// A file under the name that it has in the manifest.
struct model_file {
  std::string name;
  std::filesystem::path path;
};

/// The files that open_model reads, by name. A GGUF file is "model.gguf" whatever it is called
/// here, or "model-00001-of-00003.gguf" of a split set, so that a renamed file is the same model.
/// Errors: those of opening the headers.
result<std::vector<model_file>> model_files(const std::filesystem::path& path);

/// `path`, or the GGUF file (the first of the split set) that is alone in that folder.
std::filesystem::path gguf_inside(const std::filesystem::path& path);

struct manifest_options {
  std::string title; ///< empty: the name of the file or folder
  uint32_t threads = 2;
  uint32_t chunk_bytes = default_chunk_bytes;
  /// Folder in which manifests are kept, so that the next start reads none of the model; empty:
  /// none. A file of another path, size, time or inode is read again.
  std::filesystem::path cache;
  /// Called on the calling thread; false cancels.
  std::function<bool(uint64_t done, uint64_t total)> progress;
};

/// Reads every byte of the model, unless the cache knows them.
/// Errors: those of model_files and manifest::make; io (also: a file changed meanwhile); cancelled.
result<manifest> make_manifest(const std::filesystem::path& path, const manifest_options& options);

/// The bytes of a chunk, for a peer. Errors: io.
result<std::vector<std::byte>> read_chunk(const manifest& of, const std::vector<model_file>& files,
                                          chunk_id chunk);

} // namespace coel::model
