// What is measured: something that continues a prompt with tokens.
#pragma once

#include "compute/device.hpp"
#include "model/source.hpp"

#include <memory>
#include <span>

namespace coel::bench {

struct run_times {
  double prompt_s = 0;  ///< start to first token
  double decode_s = 0;  ///< first token to last
  uint32_t decoded = 0; ///< tokens after the first
};

class engine {
 public:
  virtual ~engine() = default;
  /// Continues each prompt greedily by `tokens` tokens (at least one), all prompts at once,
  /// whatever the tokens are (an end token does not end it). One entry a prompt.
  virtual result<std::vector<run_times>> generate(const std::vector<std::vector<int32_t>>& prompts,
                                                  uint32_t tokens) = 0;
};
using engine_ptr = std::unique_ptr<engine>;

struct engine_needs {
  model::source_ptr from;
  compute::device_ptr on;
  uint32_t context = 0;  ///< tokens of one session, prompt and answer
  uint32_t sessions = 1; ///< at once
};

/// The kernels called in a plain loop, one session after another.
result<engine_ptr> make_plain_engine(const engine_needs& needs);

} // namespace coel::bench
