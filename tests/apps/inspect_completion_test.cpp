// What TAB offers.
#include "apps/inspect/command.hpp"
#include "apps/inspect/completion.hpp"

#include <boost/test/unit_test.hpp>

using namespace coel::inspect;
using words = std::vector<std::string>;

namespace {

const vocabulary node{{{"tiny", 3}, {"tower", 12}}, {41, 42, 7}};

words offered(const char* line) {
  return complete(line, node).candidates;
}

std::string inserted(const char* line) {
  return continuation(complete(line, node));
}

} // namespace

BOOST_AUTO_TEST_SUITE(inspect_completion)

BOOST_AUTO_TEST_CASE(commands) {
  BOOST_TEST(offered("") == command_names(), boost::test_tools::per_element());
  BOOST_TEST(offered("   ") == command_names(), boost::test_tools::per_element());
  BOOST_TEST(offered("s") == (words{"status", "sessions"}), boost::test_tools::per_element());
  BOOST_TEST(offered("st") == (words{"status"}), boost::test_tools::per_element());
  BOOST_TEST(offered("x").empty());
  BOOST_TEST(offered("status ").empty()); // it takes nothing
  BOOST_TEST(offered("status s").empty());
}

BOOST_AUTO_TEST_CASE(what_watch_can_repeat) {
  for (const char* line : {"watch ", "watch 2 ", "watch 0.5 "})
    BOOST_TEST(offered(line) == watchable_names(), boost::test_tools::per_element());
  BOOST_TEST(offered("watch 2 se") == (words{"sessions"}), boost::test_tools::per_element());
  BOOST_TEST(offered("watch actors ") == (words{"layers", "all"}),
             boost::test_tools::per_element());
  BOOST_TEST(offered("watch q").empty());
}

BOOST_AUTO_TEST_CASE(models_and_their_layers) {
  BOOST_TEST(offered("experts ") == (words{"tiny", "tower", "0", "1", "2"}),
             boost::test_tools::per_element()); // without a name, layers of the first model
  BOOST_TEST(offered("experts to") == (words{"tower"}), boost::test_tools::per_element());
  BOOST_TEST(offered("experts tiny ") == (words{"0", "1", "2"}), boost::test_tools::per_element());
  BOOST_TEST(offered("experts tower 1") == (words{"1", "10", "11"}),
             boost::test_tools::per_element());
  BOOST_TEST(offered("watch 3 experts tower 1") == (words{"1", "10", "11"}),
             boost::test_tools::per_element());
  BOOST_TEST(offered("experts nobody ").empty());
  BOOST_TEST(offered("experts tiny 1 ").empty());
}

BOOST_AUTO_TEST_CASE(requests_that_run) {
  BOOST_TEST(offered("trace ") == (words{"41", "42", "7"}), boost::test_tools::per_element());
  BOOST_TEST(offered("trace 4") == (words{"41", "42"}), boost::test_tools::per_element());
  BOOST_TEST(offered("trace 41 ").empty());
}

BOOST_AUTO_TEST_CASE(a_node_that_does_not_answer_offers_nothing) {
  BOOST_TEST(complete("experts ", {}).candidates.empty());
  BOOST_TEST(complete("trace ", {}).candidates.empty());
}

BOOST_AUTO_TEST_CASE(the_node_is_asked_only_where_it_knows_more) {
  for (const char* line : {"experts ", "experts t", "trace ", "watch 2 trace 4"})
    BOOST_TEST(needs_node(line), line);
  for (const char* line : {"", "ex", "experts", "actors ", "watch ", "watch 2 ", "nonsense "})
    BOOST_TEST(!needs_node(line), line);
}

BOOST_AUTO_TEST_CASE(as_much_is_inserted_as_is_certain) {
  BOOST_TEST(inserted("stat") == "us "); // the only one: the next word may begin
  BOOST_TEST(inserted("status") == " ");
  BOOST_TEST(inserted("s").empty()); // status, sessions
  BOOST_TEST(inserted("m") == "e");  // memory, metrics
  BOOST_TEST(inserted("experts ti") == "ny ");
  BOOST_TEST(inserted("trace 4").empty());
  BOOST_TEST(inserted("x").empty());
}

BOOST_AUTO_TEST_SUITE_END()
