// What a budget of memory means for a model on this machine, before it is loaded: how many of its
// experts stay, what a token will read, and how fast that will be.
#pragma once

#include "model/source.hpp"
#include "policy/memory_budget.hpp"

#include <filesystem>

namespace coel::app {

struct forecast {
  policy::memory_plan plan;
  uint64_t budget_bytes = 0;
  double disk_bytes_per_s = 0;   ///< measured: experts of this file, as a node reads them
  double memory_bytes_per_s = 0; ///< measured: all threads read
  double compute_us = 0;         ///< of a token with everything in memory
  bool from_store = false;       ///< a store of its experts lies beside it (coel pack)
  bool routing_seen = false;     ///< by a node on this machine: else as usual
  policy::speed_answer speed;    ///< one sequence that decodes
};

/// Takes a second and reads a part of the file. Errors: out_of_memory (with what would do), io,
/// bad_file.
result<forecast> forecast_of(const std::filesystem::path& file, const model::source_ptr& from,
                             uint64_t budget_bytes, uint32_t threads);

/// For people; the lines of `coel model`.
std::string text_of(const forecast& f);

} // namespace coel::app
