// How the next token is drawn from the logits; travels in requests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace coel {

/// Applied in this order: repetition penalty, top-k, top-p, min-p, temperature, draw.
struct sampling_params {
  float temperature = 0.8f;      ///< 0: greedy
  uint32_t top_k = 40;           ///< 0: off
  float top_p = 0.95f;           ///< 1: off
  float min_p = 0.05f;           ///< 0: off; relative to the most likely token
  float repeat_penalty = 1.0f;   ///< 1: off
  uint32_t repeat_last_n = 64;   ///< tokens that the penalty looks back over
  uint64_t seed = 0;             ///< 0: drawn by the node and reported
  uint32_t logprobs = 0;         ///< alternatives reported per token, 0..20
  std::vector<std::string> stop; ///< the answer ends before any of these
};

struct chat_message {
  std::string role; ///< "system", "user", "assistant"
  std::string content;
};

} // namespace coel
