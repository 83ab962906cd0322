// The file that a bench reads in jobs.
#pragma once

#include "model/direct_file.hpp"

namespace coel::bench {

/// Errors: those of opening it; it is smaller than one job.
inline auto open_for_jobs(const std::string& path, uint64_t job_bytes)
    -> decltype(model::direct_file::open(path)) {
  auto file = model::direct_file::open(path);
  if (file && (*file)->size() < job_bytes)
    return {ec::bad_argument, path + " is smaller than one job"};
  return file;
}

} // namespace coel::bench
