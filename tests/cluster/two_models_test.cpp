// Two models on the same nodes: they share memory so that both are whole, and answer as alone.
#include "tests/cluster/answers.hpp"
#include "tests/cluster/test_cluster.hpp"

#include <boost/test/unit_test.hpp>

using namespace coel;
using namespace coel::testing;

namespace {

const std::vector<std::string> names{"tiny", "second"};

std::filesystem::path file_of(size_t which) {
  return which ? demo_model_f16() : demo_model;
}

/// Of the demo model in Q8_0, see exact_test; in F16 sums of several nodes are only rounded.
double tolerance(size_t which) {
  return which ? 1e-3 : 0.02;
}

std::vector<float> alone(size_t which, const std::vector<int32_t>& tokens) {
  node_options how;
  how.model = file_of(which);
  test_cluster one(1, how);
  one.settle();
  return must(one.logits(0, tokens));
}

std::string told(test_cluster& all, size_t i, const std::string& name) {
  auto p = all.placement(i, name);
  std::string out = "node " + std::to_string(i) + ", " + name + ": uncovered " +
                    std::to_string(p.uncovered) + ", wanted " + std::to_string(p.wanted) +
                    ", loading " + std::to_string(p.loading) + "; " + p.planning.note;
  for (const auto& n : p.nodes)
    out += "; " + n.name + " holds " + std::to_string(n.holds.count()) + ", room " +
           std::to_string(n.room);
  return out;
}

/// Until node i has linked `nodes` that run it, and every expert of the model is held.
void settle(test_cluster& all, size_t i, const std::string& name, size_t nodes) {
  test_cluster::wait_for([&] { return told(all, i, name); },
                         [&] {
                           auto p = all.placement(i, name);
                           size_t up = 0;
                           for (const auto& n : p.nodes)
                             up += n.up && n.room > 0;
                           return up == nodes && p.uncovered == 0 && p.wanted == 0 &&
                                  p.loading == 0;
                         });
}

size_t held_by(test_cluster& all, size_t i, const std::string& name) {
  for (const auto& n : all.placement(i, name).nodes)
    if (n.name == "node" + std::to_string(i))
      return n.holds.count();
  return 0;
}

} // namespace

BOOST_AUTO_TEST_SUITE(two_models)

BOOST_AUTO_TEST_CASE(both_are_spread_over_two_nodes_and_answer_as_alone) {
  auto tokens = some_tokens(40);
  node_options how;
  how.adjust = [](size_t, actors::node_config& c) {
    c.models.push_back({demo_model_f16(), names[1]});
    c.ram_bytes = memory_for(demo_model, 0.75) + memory_for(demo_model_f16(), 0.75);
  };
  test_cluster all(2, how);
  for (size_t i = 0; i < 2; ++i)
    for (const auto& name : names)
      settle(all, i, name, 2);
  for (size_t which = 0; which < 2; ++which)
    BOOST_TEST_CONTEXT(names[which]) {
      auto expected = alone(which, tokens);
      for (size_t home = 0; home < 2; ++home) {
        BOOST_TEST(held_by(all, home, names[which]) > 0u);
        BOOST_TEST(distance(must(all.logits(home, tokens, which)), expected) < tolerance(which));
      }
      BOOST_TEST(all.network(0, which).rounds + all.network(1, which).rounds > 0u);
    }
}

BOOST_AUTO_TEST_CASE(a_model_that_lacks_memory_gets_it_from_one_that_has_more_elsewhere) {
  auto tokens = some_tokens(40);
  node_options how;
  how.adjust = [](size_t i, actors::node_config& c) {
    if (i == 2) // the first model alone, whole
      return;
    c.models.push_back({demo_model_f16(), names[1]});
    // In proportion the second would have two thirds of what both nodes have: not enough.
    c.ram_bytes = memory_for(demo_model, 0.1) + memory_for(demo_model_f16(), 0.55);
  };
  test_cluster all(3, how);
  settle(all, 0, names[1], 2);
  settle(all, 0, names[0], 3);
  for (size_t which = 0; which < 2; ++which)
    BOOST_TEST_CONTEXT(names[which])
  BOOST_TEST(distance(must(all.logits(0, tokens, which)), alone(which, tokens)) < tolerance(which));
}

BOOST_AUTO_TEST_SUITE_END()
