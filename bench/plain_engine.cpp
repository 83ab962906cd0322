#include "bench/plain_engine.hpp"

#include "model/sampler.hpp"

#include <chrono>

namespace coel::bench {

namespace {

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point start) {
  return std::chrono::duration<double>(clock::now() - start).count();
}

model::sampler greedy() {
  sampling_params params;
  params.temperature = 0;
  return model::sampler(params);
}

} // namespace

result<std::vector<run_times>>
plain_engine::generate(const std::vector<std::vector<int32_t>>& prompts, uint32_t tokens) {
  std::vector<run_times> all;
  for (const auto& prompt : prompts) {
    auto times = one(prompt, tokens);
    if (!times)
      return times.err();
    all.push_back(*times);
  }
  return all;
}

result<run_times> plain_engine::one(const std::vector<int32_t>& prompt, uint32_t tokens) {
  run_->reset();
  auto sampler = greedy();
  auto start = clock::now();
  auto logits = run_->feed(prompt);
  if (!logits)
    return logits.err();
  int32_t next = sampler.draw(*logits, prompt).id;
  run_times times{seconds_since(start), 0, tokens - 1};
  start = clock::now();
  for (uint32_t i = 1; i < tokens; ++i) {
    logits = run_->feed({&next, 1});
    if (!logits)
      return logits.err();
    next = sampler.draw(*logits, prompt).id;
  }
  times.decode_s = seconds_since(start);
  return times;
}

result<engine_ptr> make_plain_engine(const engine_needs& needs, const load_progress& progress) {
  auto from = model::open_model(needs.model);
  if (!from)
    return from.err();
  auto run = model::runner::load(*from, needs.on, {needs.context, 512, 1}, progress);
  if (!run)
    return run.err();
  return engine_ptr(std::make_unique<plain_engine>(std::move(*run)));
}

} // namespace coel::bench
