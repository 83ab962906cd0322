// Replays recorded routing through caches of experts and through the predictor.
#pragma once

#include "bench/tiers/recording.hpp"
#include "policy/cache_value.hpp"
#include "policy/expert_predictor.hpp"

#include <functional>

namespace coel::bench {

using make_rule = std::function<policy::cache_value_ptr(policy::cache_shape,
                                                        const std::vector<policy::routed_step>&)>;

/// Share of activations, of the second half of the recording, whose expert was in a cache of that
/// many experts. One token a step.
double hit_rate(const recording& r, const make_rule& rule, uint64_t capacity);

enum class features : uint8_t { history, gate, both };

struct recall_row {
  double recall = 0, recall_of_double = 0, popular = 0;
  uint64_t seen = 0;
};
/// Of a predictor that learns as it goes, by layers ahead (1 to 3), over the second half: of layers
/// of the same token, or of the next token's first ones, whose routers cannot be asked yet.
struct recall_rows {
  std::vector<recall_row> same_token, next_token;
};
recall_rows recalls(const recording& r, features which);

struct ahead_row {
  double cache_hits = 0; ///< without reading ahead
  double found = 0;      ///< in the cache, or read ahead
  double extra = 0;      ///< experts read ahead for nothing, per expert that had to be read without
};
/// Reads ahead what has a probability of at least `threshold` and is not in the cache.
ahead_row read_ahead(const recording& r, features which, uint32_t ahead, double threshold,
                     uint64_t capacity);

} // namespace coel::bench
