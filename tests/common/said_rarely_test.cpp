#include "common/said_rarely.hpp"

#include <boost/test/unit_test.hpp>

using coel::said_rarely;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_CASE(what_happens_often_is_said_once_in_a_while_with_its_number) {
  said_rarely s(60s);
  auto t = said_rarely::time_point{};
  BOOST_TEST(!s.due(0, t).has_value()); // nothing happened
  BOOST_TEST(s.due(3, t).value() == 3u);
  for (uint64_t n = 4; n < 1000; ++n)
    BOOST_TEST(!s.due(n, t + 59s).has_value());
  BOOST_TEST(s.due(1000, t + 60s).value() == 997u);
  BOOST_TEST(!s.due(1000, t + 600s).has_value());
  BOOST_TEST(s.due(1001, t + 600s).value() == 1u);
}
