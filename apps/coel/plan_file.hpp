// Nodes, links and requests of a dry run, from TOML. Example: docs/placement.md.
#pragma once

#include "common/result.hpp"
#include "policy/placement.hpp"

#include <filesystem>

namespace coel::app {

struct plan_file {
  std::string model; ///< name of a shape or a file; may be empty
  std::string type;  ///< of the weights; may be empty
  uint32_t context = 4096;
  std::vector<policy::node_facts> nodes;
  std::vector<double> tokens_per_s; ///< [nodes]; 0: no home
  std::vector<bool> helper;         ///< [nodes] only runs experts for others
  policy::network_facts network;
  uint32_t prompt_tokens = 128;
  uint32_t answer_tokens = 128;
  double sessions = 1;
};

/// Errors: io, bad_file with line and reason.
result<plan_file> read_plan_file(const std::filesystem::path& path);

} // namespace coel::app
