// What one token costs by the model's shape and types: the yardstick for measured speed.
#pragma once

#include "model/source.hpp"

namespace coel::bench {

struct token_cost {
  uint64_t bytes = 0;                ///< of weights that a decoded token reads
  uint64_t multiply_adds = 0;        ///< with those weights; attention over the past not counted
  uint64_t output_multiply_adds = 0; ///< the part of the output matrix: once a prompt

  /// Multiply-adds of a prompt of `tokens` tokens, of which only the last needs logits.
  uint64_t of_prompt(uint64_t tokens) const {
    return tokens * (multiply_adds - output_multiply_adds) + output_multiply_adds;
  }
};

token_cost cost_of_token(const model::source& from);

} // namespace coel::bench
