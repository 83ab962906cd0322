// Hashes of all chunks of some files, by several threads.
#pragma once

#include "model/manifest_files.hpp"
#include "model/manifest_io.hpp"

namespace coel::model {

struct hashing_job {
  struct file {
    std::string name;
    std::filesystem::path path;
    struct stat about {};
    file_handle handle;
  };
  uint32_t chunk_bytes = 0;
  std::vector<file> files;
  uint64_t bytes = 0;
};

/// Errors: io, bad_file.
result<hashing_job> open_to_hash(const std::vector<model_file>& files, uint32_t chunk_bytes);

/// Errors: io, cancelled (progress, which is called on the calling thread, returned false).
result<std::vector<manifest_file>>
hash_chunks(const hashing_job& job, uint32_t threads,
            const std::function<bool(uint64_t, uint64_t)>& progress);

} // namespace coel::model
