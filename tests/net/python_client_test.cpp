// The Python client against the real server: the protocol as another language speaks it.
#include "tests/net/fake_node.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>

using namespace coel::net;
using namespace coel::net::test;

BOOST_AUTO_TEST_SUITE(python_client)

BOOST_AUTO_TEST_CASE(does_everything) {
  const std::string python = "/usr/bin/python3";
  if (std::system((python + " -c 'import zmq, msgpack' 2>/dev/null").c_str()) != 0) {
    BOOST_TEST_MESSAGE("skipped: python3-zmq or python3-msgpack is not installed");
    std::puts("skipped: python3-zmq or python3-msgpack is not installed");
    return;
  }
  scratch_folder folder;
  app_server_options options;
  options.endpoints = {folder.ipc()};
  fake_node node(options);
  const std::string source = COEL_SOURCE_DIR;
  auto command = "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH='" + source + "/python' timeout 120 " +
                 python + " '" + source + "/tests/net/python_client.py' '" + node.endpoint() + "'";
  BOOST_TEST(std::system(command.c_str()) == 0);
  // Each of its connections is noticed to be gone, and what it left running has been cancelled.
  BOOST_TEST(node.eventually([&] { return node.gone == 5 && node.waiting.empty(); }));
}

BOOST_AUTO_TEST_SUITE_END()
