// The Python client against the real server: the protocol as another language speaks it.
#include "tests/net/fake_node.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <future>
#include <thread>

using namespace coel::net;
using namespace coel::net::test;

namespace {

/// False, with a word about it, where the client's packages are missing.
bool can_run() {
  if (std::system("/usr/bin/python3 -c 'import zmq, msgpack' 2>/dev/null") == 0)
    return true;
  BOOST_TEST_MESSAGE("skipped: python3-zmq or python3-msgpack is not installed");
  std::puts("skipped: python3-zmq or python3-msgpack is not installed");
  return false;
}

int run(const std::vector<std::string>& endpoints) {
  const std::string source = COEL_SOURCE_DIR;
  auto command = "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH='" + source +
                 "/python' timeout 120 /usr/bin/python3 '" + source +
                 "/tests/net/python_client.py'";
  for (const auto& endpoint : endpoints)
    command += " '" + endpoint + "'";
  return std::system(command.c_str());
}

app_server_options at(const scratch_folder& folder, const char* name) {
  app_server_options options;
  options.endpoints = {"ipc://" + (folder.path() / name).string()};
  return options;
}

} // namespace

BOOST_AUTO_TEST_SUITE(python_client)

BOOST_AUTO_TEST_CASE(does_everything) {
  if (!can_run())
    return;
  scratch_folder folder;
  fake_node node(at(folder, "node.sock"));
  BOOST_TEST(run({node.endpoint()}) == 0);
  // Each of its connections is noticed to be gone, and what it left running has been cancelled.
  BOOST_TEST(node.eventually([&] { return node.gone == 6 && node.waiting.empty(); }));
}

BOOST_AUTO_TEST_CASE(goes_on_at_another_node) {
  if (!can_run())
    return;
  scratch_folder folder;
  fake_node healthy(at(folder, "healthy.sock"));
  fake_node ending(at(folder, "ending.sock"), {0, misfortune::kind::shutdown});
  auto dying = std::make_unique<fake_node>(at(folder, "dying.sock"),
                                           misfortune{4, misfortune::kind::silence});
  fake_node leaving(at(folder, "leaving.sock"), {5, misfortune::kind::shutdown});
  fake_node helping(at(folder, "helping.sock"), {0, misfortune::kind::helper});
  auto client = std::async(std::launch::async, [&, first = dying->endpoint()] {
    return run(
        {healthy.endpoint(), first, ending.endpoint(), leaving.endpoint(), helping.endpoint()});
  });
  const auto heard = folder.path() / "dying.sock.heard";
  for (int i = 0; i < 2000 && !std::filesystem::exists(heard); ++i)
    std::this_thread::sleep_for(10ms);
  dying.reset();
  BOOST_TEST(client.get() == 0);
  BOOST_REQUIRE(healthy.eventually([&] { return healthy.asked.size() == 6; }));
  BOOST_TEST(healthy.asked[0].answered.size() == 4u);
  BOOST_TEST(healthy.asked[0].max_tokens == 252u);
  BOOST_TEST(healthy.asked[2].answered.size() == 5u); // of the one that shut down in mid-answer
  BOOST_TEST(healthy.asked[2].max_tokens == 251u);
  BOOST_TEST(healthy.asked[4].answered.empty()); // of the helper
  BOOST_TEST(leaving.asked.size() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
