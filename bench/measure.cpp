#include "bench/measure.hpp"

#include <algorithm>
#include <random>

namespace coel::bench {

namespace {

using prompt_set = std::vector<std::vector<int32_t>>;

struct test {
  std::string name;
  prompt_set prompts;
  uint32_t tokens = 1; ///< of each answer
  bool only_actors = false;
  /// Tokens a second of a run.
  double (*speed)(const test&, const std::vector<run_times>&) = nullptr;
  double bytes_a_token = 0;
  double multiply_adds_a_token = 0;
};

prompt_set random_prompts(uint32_t count, uint32_t length, uint32_t vocab) {
  std::mt19937 random(1);
  prompt_set prompts(count, std::vector<int32_t>(length));
  for (auto& p : prompts)
    for (auto& t : p)
      t = static_cast<int32_t>(random() % vocab);
  return prompts;
}

double prompt_speed(const test& t, const std::vector<run_times>& runs) {
  return static_cast<double>(t.prompts[0].size()) / runs[0].prompt_s;
}

double decode_speed(const test&, const std::vector<run_times>& runs) {
  return runs[0].decoded / runs[0].decode_s;
}

/// All answers, over the time from the first request to the last token.
double answer_speed(const test& t, const std::vector<run_times>& runs) {
  double last = 0;
  for (const auto& r : runs)
    last = std::max(last, r.prompt_s + r.decode_s);
  return static_cast<double>(runs.size()) * t.tokens / last;
}

std::vector<test> tests_of(const test_plan& plan, const token_cost& cost, uint32_t vocab) {
  std::vector<test> tests;
  for (uint32_t length : plan.prompts)
    if (length > 0)
      tests.push_back({"prompt " + std::to_string(length), random_prompts(1, length, vocab), 1,
                       false, prompt_speed, 0,
                       static_cast<double>(cost.of_prompt(length)) / length});
  auto each = static_cast<double>(cost.multiply_adds);
  if (plan.answer > 0)
    tests.push_back({"decode " + std::to_string(plan.answer), random_prompts(1, 1, vocab),
                     plan.answer + 1, false, decode_speed, static_cast<double>(cost.bytes), each});
  constexpr uint32_t short_prompt = 16;
  if (plan.sessions > 1)
    tests.push_back({std::to_string(plan.sessions) + " sessions",
                     random_prompts(plan.sessions, short_prompt, vocab), std::max(plan.answer, 2u),
                     true, answer_speed, 0, each});
  return tests;
}

struct contender {
  const char* name;
  engine* runs;
};

tier_use since(const tier_use& before, tier_use now) {
  now.uses -= before.uses;
  now.found -= before.found;
  now.foreseen -= before.foreseen;
  now.late -= before.late;
  now.lower -= before.lower;
  now.read_bytes -= before.read_bytes;
  now.wasted_bytes -= before.wasted_bytes;
  now.stall_us -= before.stall_us;
  now.tokens -= before.tokens;
  return now;
}

struct repeated {
  series speeds;
  std::optional<tier_use> tiers;
};

/// All repetitions of one test, by contender.
result<std::vector<repeated>> repeat(const test& t, const std::vector<contender>& in,
                                     uint32_t times) {
  std::vector<repeated> out(in.size());
  for (uint32_t i = 0; i <= times; ++i)
    for (size_t c = 0; c < in.size(); ++c) {
      if (i == 1)
        out[c].tiers = in[c].runs->tiers();
      auto runs = in[c].runs->generate(t.prompts, t.tokens);
      if (!runs)
        return runs.err();
      if (i > 0) // the first one warms caches and pages
        out[c].speeds.values.push_back(t.speed(t, *runs));
    }
  for (size_t c = 0; c < in.size(); ++c)
    if (out[c].tiers)
      out[c].tiers = since(*out[c].tiers, *in[c].runs->tiers());
  return out;
}

series slower_by_percent(const series& actors, const series& plain) {
  series percent;
  for (size_t i = 0; i < actors.values.size(); ++i)
    percent.values.push_back(100 * (plain.values[i] / actors.values[i] - 1));
  return percent;
}

} // namespace

result<test_results> run_tests(const test_plan& plan, const node_engines& engines,
                               const token_cost& cost, uint32_t vocab) {
  test_results out;
  for (const auto& t : tests_of(plan, cost, vocab)) {
    std::vector<contender> in;
    if (engines.plain && !t.only_actors)
      in.push_back({"plain", engines.plain.get()});
    if (engines.actors)
      in.push_back({"actors", engines.actors.get()});
    auto runs = repeat(t, in, plan.repetitions);
    if (!runs)
      return runs.err();
    for (size_t c = 0; c < in.size(); ++c) {
      const auto& r = (*runs)[c];
      double median = r.speeds.median();
      out.tests.push_back({t.name, in[c].name, r.speeds, median * t.bytes_a_token / 1e9,
                           median * t.multiply_adds_a_token / 1e9, r.tiers});
    }
    if (in.size() == 2)
      out.messaging.push_back({t.name, slower_by_percent((*runs)[1].speeds, (*runs)[0].speeds)});
  }
  return out;
}

} // namespace coel::bench
