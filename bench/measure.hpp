// Which tests are run on which engines, and what came out.
#pragma once

#include "bench/engine.hpp"
#include "bench/series.hpp"
#include "bench/token_cost.hpp"

#include <string>

namespace coel::bench {

enum class through : uint8_t { plain, actors, both };

struct test_plan {
  std::vector<uint32_t> prompts{512}; ///< lengths of prompts, each a test
  uint32_t answer = 64;               ///< tokens decoded after a prompt of one token; 0: no test
  uint32_t sessions = 1;              ///< more than one: a test of so many at once, too
  uint32_t repetitions = 5;           ///< counted; one more comes before them
};

/// One test on one engine.
struct test_result {
  std::string test;   ///< "prompt 512", "decode 64", "16 sessions"
  std::string engine; ///< "plain", "actors"
  series tokens_per_s;
  double read_gb_s = 0; ///< of weights; 0 where rows share them
  double multiply_adds_g_s = 0;
  std::optional<tier_use> tiers; ///< over the counted runs
};

/// Time through the actors against the plain loop, in percent of the latter, runs in turn.
struct messaging_cost {
  std::string test;
  series percent;
};

struct test_results {
  std::vector<test_result> tests;
  std::vector<messaging_cost> messaging;
};

/// Runs every test on every engine that is there, repetition by repetition in turn.
/// Errors: those of the engines.
result<test_results> run_tests(const test_plan& plan, const node_engines& engines,
                               const token_cost& cost, uint32_t vocab);

} // namespace coel::bench
