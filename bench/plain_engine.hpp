// The kernels in a plain loop, with the sampler that sessions use.
#pragma once

#include "bench/engine.hpp"
#include "model/runner.hpp"

namespace coel::bench {

class plain_engine : public engine {
 public:
  explicit plain_engine(std::unique_ptr<model::runner> run) : run_(std::move(run)) {}
  result<std::vector<run_times>> generate(const std::vector<std::vector<int32_t>>& prompts,
                                          uint32_t tokens) override;

 private:
  result<run_times> one(const std::vector<int32_t>& prompt, uint32_t tokens);
  std::unique_ptr<model::runner> run_;
};

} // namespace coel::bench
