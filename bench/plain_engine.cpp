#include "bench/engine.hpp"
#include "model/runner.hpp"

#include <algorithm>
#include <chrono>

namespace coel::bench {

namespace {

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point start) {
  return std::chrono::duration<double>(clock::now() - start).count();
}

int32_t likeliest(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

class plain_engine : public engine {
 public:
  explicit plain_engine(std::unique_ptr<model::runner> run) : run_(std::move(run)) {}

  result<std::vector<run_times>> generate(const std::vector<std::vector<int32_t>>& prompts,
                                          uint32_t tokens) override {
    std::vector<run_times> all;
    for (const auto& prompt : prompts) {
      auto times = one(prompt, tokens);
      if (!times)
        return times.err();
      all.push_back(*times);
    }
    return all;
  }

 private:
  result<run_times> one(std::span<const int32_t> prompt, uint32_t tokens) {
    run_->reset();
    auto start = clock::now();
    auto logits = run_->feed(prompt);
    if (!logits)
      return logits.err();
    int32_t next = likeliest(*logits);
    run_times times{seconds_since(start), 0, tokens - 1};
    start = clock::now();
    for (uint32_t i = 1; i < tokens; ++i) {
      logits = run_->feed({&next, 1});
      if (!logits)
        return logits.err();
      next = likeliest(*logits);
    }
    times.decode_s = seconds_since(start);
    return times;
  }

  std::unique_ptr<model::runner> run_;
};

} // namespace

result<engine_ptr> make_plain_engine(const engine_needs& needs) {
  auto run = model::runner::load(needs.from, needs.on, {needs.context, 512, 1});
  if (!run)
    return run.err();
  return engine_ptr(std::make_unique<plain_engine>(std::move(*run)));
}

} // namespace coel::bench
