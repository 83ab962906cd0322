// A network that falls into two: each part answers what it covers, and they are one again when the
// wires are mended.
#include "tests/cluster/closed_support.hpp"

using namespace coel;
using namespace coel::testing;

namespace {

size_t known_up(test_cluster& all, size_t i) {
  size_t up = 0;
  for (const auto& n : all.placement(i).nodes)
    up += n.up;
  return up;
}

void wait_for_parts(test_cluster& all, const std::vector<std::vector<size_t>>& parts) {
  for (const auto& part : parts)
    for (size_t i : part)
      test_cluster::wait_for([&] { return "node " + std::to_string(i) + " to see its part only"; },
                             [&] { return known_up(all, i) == part.size(); });
}

} // namespace

BOOST_AUTO_TEST_SUITE(split)

BOOST_AUTO_TEST_CASE(two_halves_answer_and_are_one_again) {
  tapped_cluster net(4, with_share(0.6)); // two of four hold everything
  auto& all = net.nodes();
  all.settle();
  auto tokens = some_tokens(24);
  auto whole = must(all.logits(0, tokens));
  for (int round = 0; round < 2; ++round) {
    net.cut({0, 1}, true);
    for (size_t i : {0u, 2u}) // at once: what is missing is loaded while the request waits
      BOOST_TEST(same_answer(must(all.logits(i, tokens)), whole), "node " << i << " after the cut");
    wait_for_parts(all, {{0, 1}, {2, 3}});
    for (size_t i = 0; i < 4; ++i)
      BOOST_TEST(same_answer(must(all.logits(i, tokens)), whole), "node " << i << " in its half");
    net.cut({0, 1}, false);
    all.settle();
    for (size_t i = 0; i < 4; ++i)
      BOOST_TEST(same_answer(must(all.logits(i, tokens)), whole), "node " << i << " after it");
  }
}

BOOST_AUTO_TEST_CASE(a_part_that_covers_too_little_says_so_until_it_is_joined_again) {
  auto how = with_share(0.55);
  how.missing_patience = std::chrono::milliseconds(1500);
  how.adjust = [](size_t, actors::node_config& c) { c.hosting.pool_share = 0; }; // nor reads it
  tapped_cluster net(3, how);
  auto& all = net.nodes();
  all.settle();
  auto tokens = some_tokens(16);
  auto whole = must(all.logits(2, tokens));
  net.cut({2}, true);
  wait_for_parts(all, {{0, 1}, {2}});
  auto alone = all.logits(2, tokens);
  BOOST_REQUIRE(!alone.ok());
  BOOST_TEST((alone.err().code == ec::expert_not_here));
  BOOST_TEST(alone.err().message.find("expert") != std::string::npos, alone.err().message);
  test_cluster::wait_for([] { return "the larger part to hold everything"; },
                         [&] { return all.placement(0).uncovered == 0; });
  BOOST_TEST(same_answer(must(all.logits(0, tokens)), whole));
  BOOST_TEST(same_answer(must(all.logits(1, tokens)), whole));
  net.cut({2}, false);
  all.settle();
  BOOST_TEST(same_answer(must(all.logits(2, tokens)), whole));
}

BOOST_AUTO_TEST_SUITE_END()
