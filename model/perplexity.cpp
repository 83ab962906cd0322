#include "model/perplexity.hpp"

#include "model/sampler.hpp"

#include <cmath>

namespace coel::model {

result<perplexity_result> perplexity(runner& run, std::span<const int32_t> tokens,
                                     const perplexity_options& options,
                                     const std::function<void(uint32_t, uint32_t)>& progress) {
  if (options.window < 2)
    return {ec::bad_argument, "a window needs at least two tokens"};
  auto windows = static_cast<uint32_t>(tokens.size() / options.window);
  if (windows == 0)
    return {ec::bad_argument, "the text has " + std::to_string(tokens.size()) +
                                  " tokens, fewer than one window of " +
                                  std::to_string(options.window)};
  uint32_t first = options.all_positions ? 0 : options.window / 2;
  perplexity_result out;
  double sum = 0;
  for (uint32_t w = 0; w < windows; ++w) {
    auto window = tokens.subspan(size_t{w} * options.window, options.window);
    run.reset();
    auto fed = run.feed_all(window, [&](uint32_t position, std::span<const float> logits) {
      if (position < first || position + 1 >= options.window)
        return;
      sum -= log_probability(logits, window[position + 1]);
      ++out.predictions;
    });
    if (!fed)
      return fed.err();
    if (progress)
      progress(w + 1, windows);
  }
  out.windows = windows;
  out.loss = sum / static_cast<double>(out.predictions);
  out.perplexity = std::exp(out.loss);
  return out;
}

} // namespace coel::model
