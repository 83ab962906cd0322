// Routing as it happened: which experts each token chose, kept token by token so that a placement
// can be scored on what a model really does. File format: docs/formats.md.
#pragma once

#include "common/result.hpp"
#include "policy/routing_stats.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace coel::policy {

struct routing_trace {
  routing_shape shape;
  std::vector<uint16_t> experts; ///< [tokens, layers, top_k]
  std::vector<uint32_t> session; ///< [tokens]; tokens of a session stand in their order

  size_t tokens() const { return session.size(); }
  size_t row() const { return size_t{shape.layers} * shape.top_k; }
  /// Experts of one token at one layer, [top_k].
  std::span<const uint16_t> at(size_t token, uint32_t layer) const {
    return {experts.data() + token * row() + size_t{layer} * shape.top_k, shape.top_k};
  }
  std::span<const uint16_t> path(size_t token) const {
    return {experts.data() + token * row(), row()};
  }
  void append(std::span<const uint16_t> path, uint32_t of_session);
};

/// Reads version 1 (no sessions: all are 0) and version 2 (u32 session before each token's
/// experts). Errors: bad_file, saying what is wrong with it.
result<routing_trace> parse_routing(std::span<const std::byte> file);

/// A file of version 2.
std::vector<char> encode_routing(const routing_trace& trace);
/// The same of as many tokens, evenly spread, as fit `most_bytes`.
std::vector<char> encode_routing(const routing_trace& trace, size_t most_bytes);

/// The tokens named, in that order.
routing_trace pick_tokens(const routing_trace& from, std::span<const size_t> tokens);

/// Token numbers of each session, by rising session.
std::vector<std::vector<size_t>> tokens_by_session(const routing_trace& trace);

/// Sessions of `tokens` each for a trace that has none: a window of one text is about one thing.
void cut_into_sessions(routing_trace& trace, uint32_t tokens);

struct trace_halves {
  routing_trace fit;      ///< to plan with
  routing_trace held_out; ///< to score with: whole sessions that the planner has not seen
};
/// Every other session; with fewer than 4 sessions every other block of 256 tokens.
trace_halves split_trace(const routing_trace& trace);

/// At most `most` tokens, evenly spread over the whole.
routing_trace thin(const routing_trace& trace, size_t most);

/// The slices of a shared expert as experts that every token uses: ids from shape.experts on.
routing_trace with_shared_slices(const routing_trace& trace, uint32_t slices);

} // namespace coel::policy
