// Tables of docs/placement.md.
#pragma once

#include "policy/routing_trace.hpp"

namespace coel::bench {

enum class home_choice : uint8_t {
  anywhere,  ///< a session is decoded where it happens to arrive
  by_domain, ///< each node has users of its own, with texts of their own
  by_prompt, ///< anywhere, then sent to the home that has the prompt's experts
};

struct rounds_options {
  home_choice homes = home_choice::anywhere;
  std::vector<uint32_t> nodes{2, 3, 4, 8};
  std::vector<double> copies{1.0, 1.5, 2.0};
  uint32_t wire_row_bytes = 4096; ///< one way
  uint32_t search_moves = 20'000;
  bool single_home = false; ///< one node decodes, the others help
};

/// Rounds, messages and bytes a token for each candidate, on sessions that neither made nor chose
/// it: a third of the sessions makes, a third chooses, a third is shown.
void print_rounds(const policy::routing_trace& trace, const rounds_options& options);

/// What the trace is like: skew, connection probability, topics.
void print_routing(const policy::routing_trace& trace);

/// Replica choice in a changing LAN.
void print_replicas(uint32_t seeds);

/// Time of planning for 16 unlike nodes, and of regions by size of the network.
void print_scale();

} // namespace coel::bench
