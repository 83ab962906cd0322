// The answer of a cluster is the answer of one node, however many there are and whatever they hold.
#include "model/sampler.hpp"
#include "tests/cluster/answers.hpp"
#include "tests/cluster/families.hpp"
#include "tests/cluster/test_cluster.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <fstream>
#include <numeric>

using namespace coel;
using namespace coel::testing;

namespace {

constexpr size_t window = 512;

double perplexity_of(test_cluster& cluster, const std::vector<int32_t>& tokens) {
  double loss = 0;
  size_t predictions = 0;
  auto vocab = cluster.model(0).model->config().vocab;
  for (size_t at = 0; at + window <= tokens.size(); at += window) {
    std::vector<int32_t> part(tokens.begin() + static_cast<std::ptrdiff_t>(at),
                              tokens.begin() + static_cast<std::ptrdiff_t>(at + window));
    auto logits = must(cluster.logits(0, part));
    for (size_t i = 0; i + 1 < window; ++i, ++predictions)
      loss -= model::log_probability({logits.data() + i * vocab, vocab}, part[i + 1]);
  }
  return std::exp(loss / static_cast<double>(predictions));
}

} // namespace

BOOST_AUTO_TEST_SUITE(exactness)

BOOST_AUTO_TEST_CASE(logits_do_not_depend_on_the_number_of_nodes) {
  for (const auto& one : families) {
    auto file = one.file();
    if (!std::filesystem::exists(file)) {
      BOOST_TEST_MESSAGE("skipped: " << file << " is not here");
      continue;
    }
    std::vector<float> alone;
    std::vector<int32_t> tokens;
    for (size_t nodes : {1u, 2u, 3u, 5u, 8u})
      BOOST_TEST_CONTEXT(one.name << " on " << nodes << " nodes") {
        node_options how;
        how.model = file;
        how.share = nodes == 1 ? 1.0 : 1.25 / static_cast<double>(nodes);
        test_cluster cluster(nodes, how);
        cluster.settle();
        if (tokens.empty())
          tokens = some_tokens(48, 0, cluster.model(0).model->config().vocab);
        for (size_t home : {size_t{0}, nodes - 1}) {
          auto got = must(cluster.logits(home, tokens));
          if (alone.empty())
            alone = got;
          BOOST_TEST(distance(got, alone) < one.tolerance);
          if (nodes > 1)
            BOOST_TEST(cluster.network(home).rounds > 0u);
        }
      }
  }
}

BOOST_AUTO_TEST_CASE(narrow_wires_cost_little) {
  for (auto [wire, most] : {std::pair{net::wire_type::f16, 0.02}, {net::wire_type::int8, 0.05}})
    BOOST_TEST_CONTEXT("wire " << int(wire)) {
      node_options how;
      how.share = 0.6;
      test_cluster one(1, {});
      one.settle();
      auto tokens = some_tokens(64, 0, one.model(0).model->config().vocab);
      auto alone = must(one.logits(0, tokens));
      how.wire = wire;
      test_cluster two(2, how);
      two.settle();
      BOOST_TEST(distance(must(two.logits(0, tokens)), alone) < most);
    }
}

BOOST_AUTO_TEST_CASE(perplexity_hardly_depends_on_the_wire) {
  test_cluster one(1, {});
  one.settle();
  const auto& model = *one.model(0).model;
  // The model's own kind of text where it is at hand; any text shows what the wire costs.
  std::filesystem::path own = std::filesystem::path(COEL_SHARED_DIR) / "models/texts/test.txt";
  std::ifstream text(std::filesystem::exists(own) ? own : COEL_SOURCE_DIR "/docs/architecture.md");
  std::string words{std::istreambuf_iterator<char>(text), {}};
  auto tokens = model.tokenizer->encode(words, false, false);
  tokens.resize(2 * window);
  double alone = perplexity_of(one, tokens);
  BOOST_TEST(alone > 1.0);
  for (size_t nodes : {2u, 3u})
    for (auto [wire, most] : {std::pair{net::wire_type::f16, 0.002}, {net::wire_type::int8, 0.005}})
      BOOST_TEST_CONTEXT(nodes << " nodes, wire " << int(wire)) {
        node_options how;
        how.share = 1.25 / static_cast<double>(nodes);
        how.wire = wire;
        test_cluster some(nodes, how);
        some.settle();
        double there = perplexity_of(some, tokens);
        BOOST_TEST_MESSAGE("perplexity " << alone << " alone, " << there);
        BOOST_TEST(std::abs(there / alone - 1) < most);
      }
}

BOOST_AUTO_TEST_SUITE_END()
