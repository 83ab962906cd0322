// all_finite over sizes around the vector width, with the odd one out at every place.
#include "common/finite.hpp"

#include <boost/test/unit_test.hpp>

#include <limits>
#include <vector>

using coel::all_finite;

BOOST_AUTO_TEST_SUITE(finite)

BOOST_AUTO_TEST_CASE(numbers_of_any_size_are_finite) {
  using limits = std::numeric_limits<float>;
  BOOST_TEST(all_finite({}));
  BOOST_TEST(all_finite(std::vector{0.f, -0.f, limits::max(), limits::lowest(), limits::min(),
                                    limits::denorm_min(), -1.f}));
}

BOOST_AUTO_TEST_CASE(one_bad_value_is_found_wherever_it_is) {
  using limits = std::numeric_limits<float>;
  for (size_t n = 1; n <= 40; ++n)
    for (size_t at = 0; at < n; ++at)
      for (float bad : {limits::infinity(), -limits::infinity(), limits::quiet_NaN(),
                        -limits::quiet_NaN(), limits::signaling_NaN()}) {
        std::vector<float> values(n, 3e38f);
        BOOST_REQUIRE(all_finite(values));
        values[at] = bad;
        BOOST_REQUIRE_MESSAGE(!all_finite(values), bad << " at " << at << " of " << n);
      }
}

BOOST_AUTO_TEST_SUITE_END()
