// Options of coel-node: command line, then environment, then the TOML file, then defaults.
#pragma once

#include "actors/node.hpp"
#include "cpu/device.hpp"

#include <optional>
#include <variant>

namespace coel::app {

struct node_options {
  actors::node_config node;
  cpu::device_options device;
  uint64_t gpu_bytes = 0;         ///< of a card's memory; 0: no card
  std::vector<uint32_t> cards{0}; ///< their numbers
  uint32_t drain_ms = 30'000;
  bool quiet = false;
};

/// The options, or the exit code of a run that ends here (--help, a usage error).
std::variant<node_options, int> read_options(int argc, char** argv);

} // namespace coel::app
