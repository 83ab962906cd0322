// coel-node --gpu where it cannot be had: one line that says why and what to do, and no start.
#include "tests/apps/client_run.hpp"
#include "tests/net/fake_node.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>

using namespace coel;
using coel::net::test::scratch_folder;

namespace {

const std::string demo = COEL_SOURCE_DIR "/models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf";

bool has_card() {
  return std::filesystem::exists("/dev/nvidia0");
}

} // namespace

BOOST_AUTO_TEST_SUITE(card_cli)

BOOST_AUTO_TEST_CASE(without_a_card_the_node_says_so_and_ends) {
  if (has_card()) {
    BOOST_TEST_MESSAGE("skipped: this machine has a card");
    return;
  }
  scratch_folder folder;
  auto run = test::run_program("coel-node", folder.path(), "--model '" + demo + "' --gpu 8GB -q");
  BOOST_TEST(run.exit == 2);
  BOOST_TEST(run.err.find("coel-node: ") == 0u);
  BOOST_TEST(run.err.find("--gpu") != std::string::npos);
  BOOST_TEST(std::count(run.err.begin(), run.err.end(), '\n') == 1);
}

BOOST_AUTO_TEST_CASE(a_card_of_no_number_or_memory_of_no_size_is_a_usage_error) {
  scratch_folder folder;
  for (const char* wrong : {"--gpu lots", "--gpu -3", "--card minus", "--gpu"})
    BOOST_TEST(
        test::run_program("coel-node", folder.path(), "--model '" + demo + "' " + wrong).exit == 2);
}

BOOST_AUTO_TEST_SUITE_END()
