// Questions of the tests of a cluster, and how far an answer is from another.
#pragma once

#include "common/result.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

namespace coel::testing {

/// Any tokens; others with another `salt`.
inline std::vector<int32_t> some_tokens(size_t n, size_t salt = 0, uint32_t vocab = 500) {
  std::vector<int32_t> tokens(n);
  for (size_t i = 0; i < n; ++i)
    tokens[i] = static_cast<int32_t>((i * 101 + 3 + salt * 17) % vocab);
  return tokens;
}

inline std::vector<float> must(result<std::vector<float>> got) {
  BOOST_REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : got.err().message));
  return std::move(*got);
}

/// Root of the mean squared difference over that of the `expected`; NaN if one of them is.
inline double distance(const std::vector<float>& got, const std::vector<float>& expected) {
  BOOST_REQUIRE_EQUAL(got.size(), expected.size());
  double off = 0, all = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    off += (got[i] - expected[i]) * (got[i] - expected[i]);
    all += expected[i] * expected[i];
  }
  return std::sqrt(off / all);
}

} // namespace coel::testing
