// Routing of a model over texts, in a plain loop.
#pragma once

#include "policy/routing_trace.hpp"

#include <filesystem>
#include <vector>

namespace coel::bench {

struct record_options {
  std::filesystem::path model;
  std::vector<std::filesystem::path> texts; ///< one domain each
  uint32_t session_tokens = 256;            ///< longer texts are cut into several sessions
  uint32_t sessions = 400;                  ///< of each domain at most
  uint32_t threads = 1;
};

/// Sessions are the pieces of a text between <|endoftext|>, numbered from 100,000 times the number
/// of the domain. Pieces of fewer than 64 tokens are left out.
result<policy::routing_trace> record_routing(const record_options& options);
inline constexpr uint32_t sessions_of_a_domain = 100'000;

} // namespace coel::bench
