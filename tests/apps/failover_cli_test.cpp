// `coel` and the Python client with two nodes of which the first dies in mid-answer: the reader
// sees the sentence of an undisturbed run.
#include "tests/apps/client_run.hpp"
#include "tests/apps/processes.hpp"

#include <boost/test/unit_test.hpp>

#include <functional>

using namespace coel::test;
using coel::net::test::scratch_folder;

namespace {

const std::string story = "Once upon a time, there was a little girl named Lily. She";
constexpr int long_answer = 900; // tokens, so that there is time to die in it

const std::string python = "/usr/bin/python3";
const std::string script = R"(
import sys
sys.path.insert(0, sys.argv[1])
import coel
with coel.Node(sys.argv[2]) as node:
    for piece in node.generate(sys.argv[3], seed=7, max_tokens=int(sys.argv[4]), ignore_end=True):
        sys.stdout.buffer.write(piece["text"].encode())
        sys.stdout.buffer.flush()
    assert node.last["answer_tokens"] == int(sys.argv[4]), node.last
)";

using start = std::function<std::unique_ptr<process>(const std::string& endpoints)>;

struct fixture {
  scratch_folder folder;
  node_process second{folder.path(), "second"};

  std::vector<std::string> generate(const std::string& endpoints) const {
    return {"generate",
            "--endpoint",
            endpoints,
            "--seed",
            "7",
            "--max-tokens",
            std::to_string(long_answer),
            "--ignore-end",
            story};
  }
  /// How many tokens the second node has answered.
  int given_by_second() const {
    auto status = run_coel(folder.path(), "status --json --endpoint " + second.endpoint()).out;
    auto at = status.find("\"tokens_out\":");
    return at == std::string::npos ? -1 : std::stoi(status.substr(at + 13));
  }

  bool can_run_python() const {
    if (std::system((python + " -c 'import zmq, msgpack' 2>/dev/null").c_str()) == 0)
      return true;
    BOOST_TEST_MESSAGE("skipped: python3-zmq or python3-msgpack is not installed");
    return false;
  }
  start python_client() const {
    return [this](const std::string& endpoints) {
      return std::make_unique<process>(
          folder.path(), python,
          std::vector<std::string>{"-B", "-c", script, COEL_SOURCE_DIR "/python", endpoints, story,
                                   std::to_string(long_answer)});
    };
  }

  /// Does `harm` to the first node when the first words have come. Once in a while the answer is
  /// whole by then: the second node must have been needed, or it is tried again.
  void check_same_sentence(const start& begin, int harm) {
    auto undisturbed = begin(second.endpoint());
    const auto whole = undisturbed->read_all();
    BOOST_REQUIRE(undisturbed->wait() == 0);
    BOOST_REQUIRE(whole.size() > 1000u);
    bool needed = false;
    for (int attempt = 0; attempt < 20 && !needed; ++attempt) {
      const auto before = given_by_second();
      node_process first(folder.path(), "first", {"--drain-ms", "1"}); // what it ends is not whole
      auto client = begin(first.endpoint() + "," + second.endpoint());
      auto text = client->read_some();
      first.signal(harm);
      BOOST_REQUIRE(!text.empty());
      text += client->read_all();
      BOOST_TEST(client->wait() == 0, client->errors());
      BOOST_TEST(text == whole);
      const auto by_second = given_by_second() - before;
      needed = by_second > 0 && by_second < long_answer;
    }
    BOOST_TEST(needed);
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(failover_cli, fixture)

BOOST_AUTO_TEST_CASE(generate_when_the_first_node_is_killed) {
  check_same_sentence(
      [&](const std::string& endpoints) {
        return std::make_unique<process>(folder.path(), "coel", generate(endpoints));
      },
      SIGKILL);
}

BOOST_AUTO_TEST_CASE(generate_when_the_first_node_falls_silent) {
  check_same_sentence(
      [&](const std::string& endpoints) {
        return std::make_unique<process>(folder.path(), "coel", generate(endpoints));
      },
      SIGSTOP);
}

BOOST_AUTO_TEST_CASE(generate_when_the_first_node_shuts_down) {
  check_same_sentence(
      [&](const std::string& endpoints) {
        return std::make_unique<process>(folder.path(), "coel", generate(endpoints));
      },
      SIGTERM);
}

BOOST_AUTO_TEST_CASE(the_python_client_when_the_first_node_is_killed) {
  if (can_run_python())
    check_same_sentence(python_client(), SIGKILL);
}

BOOST_AUTO_TEST_CASE(the_python_client_when_the_first_node_shuts_down) {
  if (can_run_python())
    check_same_sentence(python_client(), SIGTERM);
}

BOOST_AUTO_TEST_CASE(the_talk_goes_on_when_its_node_was_killed_between_two_answers) {
  std::unique_ptr<node_process> first;
  auto talk = [&](const std::string& endpoints, bool kill) {
    process chat(
        folder.path(), "coel",
        {"chat", "--endpoint", endpoints, "--seed", "7", "--max-tokens", "40", "--ignore-end"});
    std::string all;
    chat.say("Lily has a dog.\n");
    while (all.find('\n') == std::string::npos) {
      auto some = chat.read_some();
      BOOST_REQUIRE_MESSAGE(!some.empty(), chat.errors());
      all += some;
    }
    if (kill)
      first.reset();
    chat.say("Tom has a cat.\n");
    chat.say_no_more();
    all += chat.read_all();
    BOOST_TEST(chat.wait() == 0, chat.errors());
    return all;
  };
  const auto whole = talk(second.endpoint(), false);
  first = std::make_unique<node_process>(folder.path(), "first");
  BOOST_TEST(talk(first->endpoint() + "," + second.endpoint(), true) == whole);
}

BOOST_AUTO_TEST_CASE(when_no_node_is_left_the_error_names_them) {
  int exit = 0;
  for (int attempt = 0; attempt < 20 && exit == 0; ++attempt) { // an answer may be quicker
    auto first = std::make_unique<node_process>(folder.path(), "first");
    const auto endpoint = first->endpoint();
    process client(folder.path(), "coel", generate(endpoint));
    BOOST_REQUIRE(!client.read_some().empty());
    first.reset();
    client.read_all();
    exit = client.wait();
    if (exit != 0)
      BOOST_TEST(client.errors().find(endpoint) != std::string::npos, client.errors());
  }
  BOOST_TEST(exit == 1);
  auto nobody = run_coel(folder.path(), "generate x --endpoint ipc:///no/a --endpoint ipc:///no/b");
  BOOST_TEST(nobody.exit == 3);
  for (const char* part : {"ipc:///no/a", "ipc:///no/b"})
    BOOST_TEST(nobody.err.find(part) != std::string::npos, nobody.err);
}

BOOST_AUTO_TEST_CASE(endpoints_from_the_environment_and_questions_of_one_reply) {
  auto several = "COEL_ENDPOINT=ipc:///no/such," + second.endpoint();
  BOOST_TEST(run_coel(folder.path(), "tokenize Once", several).exit == 0);
  auto story_of = run_coel(folder.path(), "generate --seed 3 -n 5 Once", several);
  BOOST_TEST(story_of.exit == 0);
  BOOST_TEST(story_of.out.size() > 5u);
  BOOST_TEST(run_coel(folder.path(), "generate Once --server-key a,b,c", several).exit == 3);
}

BOOST_AUTO_TEST_SUITE_END()
