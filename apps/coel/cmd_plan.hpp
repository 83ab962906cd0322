#pragma once

#include "apps/coel/connection.hpp"

#include <cstdint>
#include <filesystem>
#include <string>

namespace coel::app {

struct plan_options {
  connection_options connection; ///< without `nodes`: whose plan is asked for
  std::filesystem::path nodes;   ///< TOML; empty: the node's own plan
  std::string model;             ///< shape or file; over what the nodes' file says
  std::string type;              ///< of a shape's weights
  std::filesystem::path routing; ///< recorded; empty: synthetic
  std::string regime = "medium";
  double skew = -1;
  std::string shape = "auto";
  bool homing = false;
  uint64_t seed = 1;
  bool as_json = false;
};

/// Prints a node's plan, or one for machines that need not exist; the exit code.
int cmd_plan(const plan_options& options);

} // namespace coel::app
