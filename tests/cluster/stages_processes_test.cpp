// Nodes as programs of their own, in stages: one of them is killed, stopped or told to go while it
// runs layers of a sentence, and the reader sees the sentence of a node that was alone.
#include "tests/apps/processes.hpp"
#include "tests/cluster/test_cluster.hpp"

#include <boost/test/unit_test.hpp>

#include <array>

using namespace coel;
using namespace coel::testing;
using coel::net::test::scratch_folder;
using coel::test::process;

namespace {

const std::string story = "Once upon a time, there was a little girl named Lily. She";
constexpr int long_answer = 600;

std::string model_argument() {
  return "tiny=" + demo_model_f16().string();
}

struct staged_programs {
  static constexpr size_t nodes = 3;
  scratch_folder folder;
  std::array<std::optional<process>, nodes> node;

  staged_programs() {
    auto file = *net::make_cluster("stages");
    file.link_port = 7420;
    file.hello_port = 7698;
    for (size_t i = 0; i < nodes; ++i)
      file.peers.push_back(address(i));
    BOOST_REQUIRE(net::write_cluster_file(folder.path() / "cluster.toml", file).ok());
    for (size_t i = 0; i < nodes; ++i)
      start(i);
    test_cluster::wait_for([&] { return "stages, not " + asked(0, "plan"); },
                           [&] { return staged(); });
  }

  static std::string address(size_t i) {
    auto number = static_cast<uint32_t>(getpid());
    return "127." + std::to_string(1 + number / 250 % 250) + "." +
           std::to_string(1 + number % 250) + "." + std::to_string(100 + i);
  }
  std::string endpoint(size_t i) const {
    return "ipc://" + (folder.path() / ("n" + std::to_string(i) + ".sock")).string();
  }
  void start(size_t i) {
    node[i].emplace(folder.path(), "coel-node",
                    std::vector<std::string>{
                        "--model", model_argument(), "--endpoint", endpoint(i), "--threads", "1",
                        "--cluster", (folder.path() / "cluster.toml").string(), "--state",
                        (folder.path() / ("state" + std::to_string(i))).string(), "--listen",
                        address(i), "--name", "n" + std::to_string(i), "--shape", "stages",
                        "--wire", "f32"});
  }
  std::string asked(size_t i, const std::string& what) const {
    process client(folder.path(), "coel", {what, "--json", "--endpoint", endpoint(i)});
    return client.read_all();
  }
  /// Another node than 0 that node i's plan has as a stage, if there is one.
  std::optional<size_t> stage_by(size_t i) const {
    auto plan = asked(i, "plan");
    auto at = plan.find("\"stages\":");
    for (size_t k = 1; at != std::string::npos && k < nodes; ++k)
      if (plan.find("\"n" + std::to_string(k) + "\"", at) != std::string::npos)
        return k;
    return {};
  }
  /// All nodes know each other and the same stage.
  bool staged() const {
    auto stage = stage_by(0);
    for (size_t i = 0; i < nodes; ++i)
      for (size_t k = 0; k < nodes; ++k)
        if (!stage || stage_by(i) != stage ||
            asked(i, "plan").find("\"n" + std::to_string(k) + "\"") == std::string::npos)
          return false;
    return true;
  }
  std::unique_ptr<process> generate(const std::string& from) const {
    return std::make_unique<process>(
        folder.path(), "coel",
        std::vector<std::string>{"generate", "--endpoint", from, "--seed", "7", "--max-tokens",
                                 std::to_string(long_answer), "--ignore-end", story});
  }
  /// Of node 0.
  int moved() const {
    auto status = asked(0, "status");
    auto at = status.find("\"moved_sessions\":");
    return at == std::string::npos ? -1 : std::atoi(status.c_str() + at + 17);
  }

  void check_same_sentence(int harm) {
    std::string whole;
    {
      auto at = "ipc://" + (folder.path() / "alone.sock").string();
      process alone(folder.path(), "coel-node",
                    {"--model", model_argument(), "--endpoint", at, "--threads", "1"});
      test_cluster::wait_for(
          [&] { return "the node alone, not " + alone.errors(); },
          [&] { return alone.errors().find("event=ready") != std::string::npos; });
      auto client = generate(at);
      whole = client->read_all();
      BOOST_REQUIRE(client->wait() == 0);
    }
    auto victim = stage_by(0);
    BOOST_REQUIRE(victim);
    auto client = generate(endpoint(0));
    auto text = client->read_some();
    node[*victim]->signal(harm);
    text += client->read_all();
    BOOST_TEST(client->wait() == 0, client->errors());
    BOOST_TEST(text == whole);
    BOOST_TEST(moved() == 1);
    if (harm == SIGSTOP)
      node[*victim]->signal(SIGCONT);
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(stages_of_programs, staged_programs)

BOOST_AUTO_TEST_CASE(one_is_killed) {
  check_same_sentence(SIGKILL);
}

BOOST_AUTO_TEST_CASE(one_stands_still) {
  check_same_sentence(SIGSTOP);
}

BOOST_AUTO_TEST_CASE(one_shuts_down) {
  check_same_sentence(SIGTERM);
}

BOOST_AUTO_TEST_SUITE_END()
