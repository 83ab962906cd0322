// What nodes say to each other about stages: contiguous layers of a session that a neighbour runs,
// attention and KV with them. The home of the session embeds, draws tokens and knows who runs what.
#pragma once

#include "common/node_record.hpp"
#include "common/result.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace coel {

/// Asks for room for a session's keys and values.
struct stage_open {
  hash256 model{};
  uint64_t session = 0; ///< of the asking home, never used twice
  uint32_t tokens = 0;  ///< of prompt and answer
  uint32_t first = 0;   ///< layers [first, end)
  uint32_t end = 0;
};

/// The room is not needed any more.
struct stage_close {
  hash256 model{};
  uint64_t session = 0;
};

/// A node of a session's way and the layers that it runs there.
struct stage_hop {
  std::string key;    ///< of the node
  uint32_t first = 0; ///< layers [first, end)
  uint32_t end = 0;
  bool operator==(const stage_hop&) const = default;
};

/// Rows of one session in a run, one after another.
struct stage_part {
  uint64_t session = 0;
  uint32_t position = 0; ///< of its first row; rows come in order, none is left out
  uint32_t rows = 0;
  bool operator==(const stage_part&) const = default;
};

/// What a run has cost so far, at all its stages.
struct stage_costs {
  uint32_t wait_us = 0; ///< until a stage began, for others' rows
  uint32_t run_us = 0;
  uint32_t rounds = 0;     ///< layers that needed an expert of yet another node
  uint64_t wire_bytes = 0; ///< of those rounds
  bool operator==(const stage_costs&) const = default;
};

/// Rows on their way through the stages.
struct stage_run {
  hash256 model{};
  uint64_t run = 0;            ///< of the home, never used twice
  std::string home;            ///< its key: who gets the answer
  std::vector<stage_hop> hops; ///< the receiver's, then those after it
  std::vector<stage_part> parts;
  std::vector<uint32_t> wanted; ///< rows that the home needs back, rising; maybe none
  uint32_t hidden = 0;
  uint32_t top_k = 0;
  std::vector<float> values;     ///< residual [rows, hidden]
  std::vector<uint16_t> routing; ///< [layers so far, rows, top_k] experts that were chosen
  stage_costs costs{};

  uint32_t rows() const {
    uint32_t n = 0;
    for (const auto& p : parts)
      n += p.rows;
    return n;
  }
};

/// The end of a run, to the home.
struct stage_answer {
  hash256 model{};
  uint64_t run = 0;
  result<void> outcome{}; ///< an error: a stage could not do its part, and what follows is empty
  uint32_t hidden = 0;
  std::vector<float> values;     ///< residual of the wanted rows
  std::vector<uint16_t> routing; ///< [layers of all stages, rows, top_k]
  stage_costs costs{};
};

} // namespace coel
