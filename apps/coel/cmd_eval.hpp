// `coel eval`: perplexity and logits of a model, without a node.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace coel::app {

struct eval_options {
  std::filesystem::path model;
  std::filesystem::path perplexity_text; ///< UTF-8; special tokens in it are recognised
  std::filesystem::path ids; ///< JSON: a list of token ids, or an object with "prompt_ids" or "ids"
  std::filesystem::path logits; ///< float32 [tokens, vocab], little-endian
  uint32_t window = 512;
  uint32_t threads = 0;
  bool all_positions = false;
  std::string kernels;
};

/// Exit code: 0 done; 1 failed, with the reason on standard error.
int cmd_eval(const eval_options& options);

} // namespace coel::app
