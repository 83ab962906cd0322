// `coel plan`: a dry run for machines that need not exist.
#include "tests/apps/client_run.hpp"
#include "tests/net/fake_node.hpp"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <fstream>

using namespace coel;
using coel::net::test::scratch_folder;
using nlohmann::json;

namespace {

constexpr auto three_nodes = R"(
[model]
name = "tiny-qwen3moe"
type = "q8_0"
context = 64
[request]
prompt = 16
answer = 16
[links]
rtt_us = 400
mbit_s = 1000
[[node]]
name = "desk"
memory_gb = 0.01
read_gb_s = 20
compute_gmac_s = 50
[[node]]
name = "shelf"
memory_gb = 0.01
read_gb_s = 20
compute_gmac_s = 50
[[link]]
between = ["desk", "shelf"]
rtt_us = 250
)";

struct fixture {
  scratch_folder folder;

  test::outcome plan(const std::string& nodes, const std::string& arguments = "") {
    auto path = folder.path() / "nodes.toml";
    std::ofstream(path) << nodes;
    return test::run_program("coel", folder.path(),
                             "plan --nodes '" + path.string() + "' " + arguments);
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(plan_cli, fixture)

BOOST_AUTO_TEST_CASE(a_plan_names_nodes_candidates_and_a_reason) {
  auto run = plan(three_nodes, "--json");
  BOOST_REQUIRE_MESSAGE(run.exit == 0, run.err);
  auto p = json::parse(run.out);
  BOOST_TEST(p.at("nodes").size() == 2u);
  BOOST_TEST(p.at("candidates").size() >= 6u);
  BOOST_TEST(p.at("ms_per_token").get<double>() > 0);
  BOOST_TEST(!p.at("why").get<std::string>().empty());
  BOOST_TEST(p.at("routing").get<std::string>().find("synthetic, medium") == 0u);
  for (const auto& n : p.at("nodes"))
    BOOST_TEST(n.at("memory_bytes").get<uint64_t>() <= n.at("memory_budget_bytes").get<uint64_t>());
  auto again = plan(three_nodes, "--json");
  BOOST_TEST(again.out == run.out); // the same question, the same answer
  auto text = plan(three_nodes);
  BOOST_TEST(text.exit == 0);
  for (auto word : {"rendezvous", "random", "desk", "shelf", "Plan: ", "rounds"})
    BOOST_TEST(text.out.find(word) != std::string::npos, word);
}

BOOST_AUTO_TEST_CASE(mistakes_in_the_file_are_told_with_their_line) {
  std::string bad = three_nodes;
  bad.replace(bad.find("rtt_us = 250"), 12, "rtt_ms = 250");
  auto run = plan(bad);
  BOOST_TEST(run.exit == 1);
  BOOST_TEST(run.err.find("nodes.toml:24: rtt_ms is not a key of [[link]]") != std::string::npos,
             run.err);
  bad = three_nodes;
  bad.replace(bad.find("\"desk\", \"shelf\""), 15, "\"desk\", \"shell\"");
  BOOST_TEST(plan(bad).err.find("two different nodes") != std::string::npos);
  BOOST_TEST(plan("[[node]]\nname = 3").exit == 1);
  BOOST_TEST(plan("").err.find("[[node]]") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_says_so) {
  std::string small = three_nodes;
  for (size_t at = 0; (at = small.find("memory_gb = 0.01", at)) != small.npos;)
    small.replace(at, 16, "memory_gb = 0.001");
  auto run = plan(small);
  BOOST_TEST(run.exit == 1);
  BOOST_TEST(run.err.find("missing") != std::string::npos, run.err);
}

BOOST_AUTO_TEST_CASE(wrong_words_are_usage) {
  BOOST_TEST(plan(three_nodes, "--model nosuch").exit == 2);
  BOOST_TEST(plan(three_nodes, "--regime odd").exit == 2);
  BOOST_TEST(plan(three_nodes, "--shape round").exit == 2);
  BOOST_TEST(plan(three_nodes, "--routing nosuch.bin").exit == 1);
}

BOOST_AUTO_TEST_SUITE_END()
