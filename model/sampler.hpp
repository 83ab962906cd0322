// Draws tokens from logits as sampling_params say. One per session; deterministic by seed.
#pragma once

#include "common/request.hpp"
#include "common/sampling.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace coel::model {

/// Errors: bad_argument naming the field and the allowed range (NaN included).
result<void> check(const sampling_params& params);

struct sampled {
  int32_t id = 0;
  float logprob = 0;              ///< log softmax of the untouched logits
  std::vector<token_logprob> top; ///< params.logprobs most likely, falling
};

class sampler {
 public:
  /// `drawn`: tokens of this answer that were drawn before, here or at another node. A draw's
  /// chance depends on the seed and on how many went before it, so that an answer can go on
  /// anywhere.
  explicit sampler(const sampling_params& params, uint64_t drawn = 0);

  /// `logits` [vocab]; `history` is prompt and answer so far. NaN logits count as -infinity.
  sampled draw(std::span<const float> logits, std::span<const int32_t> history);

 private:
  sampling_params params_;
  uint64_t drawn_;
  std::vector<std::pair<float, int32_t>> candidates_; // reused between draws
};

/// log softmax(logits)[id] in double accumulation.
float log_probability(std::span<const float> logits, int32_t id);

} // namespace coel::model
