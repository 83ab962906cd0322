// coel-bench and `coel quantise` as a person or a script runs them. No test here looks at a speed.
#include "model/random_model.hpp"
#include "tests/apps/client_run.hpp"
#include "tests/net/fake_node.hpp"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

using namespace coel;
using coel::net::test::scratch_folder;
using nlohmann::json;

namespace {

struct fixture {
  scratch_folder folder;
  std::string cache = " --cache '" + folder.path().string() + "' ";

  test::outcome bench(const std::string& arguments) {
    return test::run_program("coel-bench", folder.path(), arguments);
  }
  json measured(const std::string& arguments) {
    auto run = bench(arguments + " --json");
    BOOST_REQUIRE_MESSAGE(run.exit == 0, run.err);
    return json::parse(run.out);
  }
  std::string random_file(const std::string& shape, const std::string& type) {
    auto run = bench("--random " + shape + " --type " + type + cache + "--make-only");
    BOOST_REQUIRE_MESSAGE(run.exit == 0, run.err);
    return run.out.substr(0, run.out.find('\n'));
  }
};

/// Bytes and multiply-adds of a decoded token, by the shape alone.
std::pair<uint64_t, uint64_t> token_cost_by_hand(const model::model_config& c,
                                                 uint64_t bytes_of_256,
                                                 uint64_t output_bytes_of_256) {
  uint64_t h = c.hidden, q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  uint64_t dense = c.layers * (h * q * 2 + h * kv * 2);
  uint64_t experts = c.layers * 3 * h * (c.top_k * uint64_t{c.expert_ff} + c.shared_ff);
  uint64_t routers = c.layers * h * c.experts, output = h * c.vocab;
  uint64_t f32 = routers + h * (2 * c.layers + 1) + c.layers * (2 * c.head_dim);
  uint64_t bytes =
      (dense + experts + h) / 256 * bytes_of_256 + f32 * 4 + output / 256 * output_bytes_of_256;
  return {bytes, dense + experts + routers + output};
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(bench_cli, fixture)

BOOST_AUTO_TEST_CASE(both_ways_and_many_sessions_are_measured) {
  auto r = measured(
      "--random tiny-qwen3moe --type q4_k -p 16,40 -n 4 -r 3 -t 1 --through both --sessions 3" +
      cache);
  std::vector<std::string> seen;
  for (const auto& t : r.at("tests")) {
    seen.push_back(t.at("test").get<std::string>() + " " + t.at("through").get<std::string>());
    BOOST_TEST(t.at("tokens_per_s").at("median").get<double>() > 0);
    BOOST_TEST(t.at("tokens_per_s").at("values").size() == 3u);
  }
  std::vector<std::string> want{"prompt 16 plain",  "prompt 16 actors", "prompt 40 plain",
                                "prompt 40 actors", "decode 4 plain",   "decode 4 actors",
                                "3 sessions actors"};
  BOOST_TEST(seen == want, boost::test_tools::per_element());
  BOOST_TEST(r.at("messaging").size() == 3u);
  BOOST_TEST(r.at("threads") == 1);
  auto [bytes, products] = token_cost_by_hand(*model::shape_by_name("tiny-qwen3moe"), 144, 210);
  BOOST_TEST(r.at("token_bytes").get<uint64_t>() == bytes);
  BOOST_TEST(r.at("token_multiply_adds").get<uint64_t>() == products);
}

BOOST_AUTO_TEST_CASE(a_file_is_measured_as_a_table) {
  auto file = random_file("tiny-mixtral", "q8_0");
  auto run = bench("'" + file + "' -p 8 -n 2 -r 1 --through plain");
  BOOST_TEST(run.exit == 0);
  for (auto part : {"tiny-mixtral", "prompt 8", "decode 2", "tokens/s"})
    BOOST_TEST(run.out.find(part) != std::string::npos, part << " in " << run.out);
}

BOOST_AUTO_TEST_CASE(mistakes_are_said) {
  struct mistake {
    const char *arguments, *says;
    int exit;
  };
  for (auto [arguments, says, exit] : {mistake{"", "--random", 2},
                                       {"--random no-such-shape", "mixtral-8x7b", 2},
                                       {"--random tiny-olmoe --type q3", "q4_k", 2},
                                       {"/no/such.gguf", "/no/such.gguf", 1},
                                       {"x.gguf --through plain --sessions 2", "plain", 2},
                                       {"x.gguf --kernels fast", "reference", 2},
                                       {"x.gguf --store x.experts", "--resident", 2},
                                       {"x.gguf --low-precision 0.2", "--resident", 2},
                                       {"x.gguf -r 0", "-r", 2}}) {
    auto run = bench(arguments);
    BOOST_TEST(run.exit == exit, arguments << ": " << run.err);
    BOOST_TEST(run.err.find(says) != std::string::npos, arguments << ": " << run.err);
  }
}

BOOST_AUTO_TEST_CASE(a_store_is_measured_without_a_node_that_runs) {
  auto file = random_file("tiny-qwen2moe", "f16");
  auto store = (folder.path() / "elsewhere.experts").string();
  auto packed = test::run_coel(folder.path(), "pack '" + file + "' '" + store + "'");
  if (packed.exit != 0) { // the processor's kernels have no layout of their own
    BOOST_TEST_MESSAGE("skipped: " << packed.err);
    return;
  }
  auto few = "'" + file + "' --resident 0.25 -p 8 -n 8 -r 1 --draw ";
  auto run = bench(few + "--store '" + store + "'");
  BOOST_TEST(run.exit == 0, run.err);
  BOOST_TEST(run.err.find("read from " + store) != std::string::npos, run.err);
  BOOST_TEST(run.out.find("found") != std::string::npos, run.out);
  auto other = random_file("tiny-olmoe", "f16");
  run = bench("'" + other + "' --resident 0.25 --store '" + store + "'");
  BOOST_TEST(run.exit == 1);
  BOOST_TEST(run.err.find("coel pack") != std::string::npos, run.err);
  auto r = measured(few + "--low-precision 0.4 --low-precision-type q4_0");
  BOOST_TEST(r.at("tests").at(0).contains("tiers"), r.dump());
}

BOOST_AUTO_TEST_CASE(quantise_writes_what_bench_reads) {
  auto file = random_file("tiny-olmoe", "f16");
  auto out = (folder.path() / "small.gguf").string();
  auto run = test::run_coel(folder.path(), "quantise '" + file + "' '" + out + "' --type q4_0");
  BOOST_REQUIRE_MESSAGE(run.exit == 0, run.err);
  BOOST_TEST(run.out.find("q4_0") != std::string::npos);
  auto r = measured("'" + out + "' -p 8 -n 2 -r 1");
  BOOST_TEST(r.at("file_bytes").get<uint64_t>() < std::filesystem::file_size(file) / 3);
  auto again = test::run_coel(folder.path(), "quantise /no/such '" + out + "' --type q4_0");
  BOOST_TEST(again.exit != 0);
  BOOST_TEST(again.err.find("/no/such") != std::string::npos);
  BOOST_TEST(std::filesystem::exists(out));
}

BOOST_AUTO_TEST_SUITE_END()
