// Perplexity of a text over non-overlapping windows, as other engines define it.
#pragma once

#include "model/runner.hpp"

namespace coel::model {

struct perplexity_options {
  uint32_t window = 512;      ///< tokens; the KV cache is forgotten between windows
  bool all_positions = false; ///< false: only predictions made in a window's second half count
};

struct perplexity_result {
  double perplexity = 0;
  double loss = 0; ///< mean negative log probability, natural logarithm
  uint64_t predictions = 0;
  uint32_t windows = 0;
};

/// Text after the last whole window does not count. `progress(done, total)` in windows.
/// Errors: bad_argument (text shorter than a window, window below 2), those of the runner.
result<perplexity_result> perplexity(runner& run, std::span<const int32_t> tokens,
                                     const perplexity_options& options,
                                     const std::function<void(uint32_t, uint32_t)>& progress = {});

} // namespace coel::model
