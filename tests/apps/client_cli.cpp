// `coel` against the server with a handler whose answers are known.
#include "tests/apps/client_run.hpp"
#include "tests/net/fake_node.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>

using namespace coel::net;
using namespace coel::net::test;
using coel::test::run_coel;

namespace {

struct fixture {
  fixture() : node(options(folder)) {}

  static app_server_options options(const scratch_folder& folder) {
    app_server_options out; // where `coel` looks without being told, given XDG_RUNTIME_DIR
    out.endpoints = {"ipc://" + (folder.path() / "coel/node.sock").string()};
    return out;
  }
  coel::test::outcome run(const std::string& arguments, const std::string& before = "") {
    return run_coel(folder.path(), arguments, before);
  }

  scratch_folder folder;
  fake_node node;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(client_cli, fixture)

BOOST_AUTO_TEST_CASE(generate_from_words_and_from_input) {
  auto words = run("generate two words");
  BOOST_TEST(words.exit == 0);
  BOOST_TEST(words.out == "two words\n");
  auto piped = run("generate", "printf 'from a pipe' |");
  BOOST_TEST(piped.out == "from a pipe\n");
  BOOST_TEST(run("generate --max-tokens 3 abcdef").out == "abc\n");
}

BOOST_AUTO_TEST_CASE(generate_as_json) {
  auto ran = run("generate --json --seed 5 ab --stats");
  BOOST_TEST(ran.exit == 0);
  for (const char* part : {R"("text": "ab")", R"("seed": 5)", R"("reason": "end")", R"("id": 97)",
                           R"("decode_us": 500000)"})
    BOOST_TEST(ran.out.find(part) != std::string::npos, part);
  BOOST_TEST(ran.err.find("2 + 2 tokens, first after 0.02 s, 2.0 tokens/s, end") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(small_questions) {
  BOOST_TEST(run("tokenize ab").out == "97 98\n");
  BOOST_TEST(run("tokenize --json ab").out == "[97,98]\n");
  BOOST_TEST(run("detokenize '[97, 98]'").out == "ab\n");
  BOOST_TEST(run("detokenize 97 x").exit == 2);
  auto score = run("score abc");
  BOOST_TEST(score.out.find("sum -4.0000 over 2 tokens, perplexity 7.3891") != std::string::npos);
  BOOST_TEST(run("score --json abc").out.find(R"("logprobs":[-2.0,-2.0])") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(status_for_people_and_for_programs) {
  auto table = run("status");
  BOOST_TEST(table.exit == 0);
  for (const char* part :
       {"node 0.1.0, up 0:01:01, device scalar, 2 threads", "demo", "2 of 8", "1.0 MiB", "3 of 64",
        "1.0 GiB", "requests 5, tokens in 50, tokens out 70, errors 1"})
    BOOST_TEST(table.out.find(part) != std::string::npos, part);
  BOOST_TEST(run("status --json").out.find("\"uptime_s\": 61") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(chat_from_a_pipe_keeps_the_history) {
  auto ran = run("chat", "printf 'first\\n\\n/nonsense\\n/reset\\nsecond\\n/quit\\nnever\\n' |");
  BOOST_TEST(ran.exit == 0);
  BOOST_TEST(ran.out.find("first\n") != std::string::npos);
  BOOST_TEST(ran.out.find("second\n") != std::string::npos);
  BOOST_TEST(ran.out.find("never") == std::string::npos);
  BOOST_TEST(ran.out.find("/system TEXT") != std::string::npos); // help for an unknown command
}

BOOST_AUTO_TEST_CASE(exit_codes_say_what_went_wrong) {
  auto refused = run("generate fail");
  BOOST_TEST(refused.exit == 1);
  BOOST_TEST(refused.err.find("busy: the fake node is told to fail") != std::string::npos);
  BOOST_TEST(run("generate --no-such-option x").exit == 2);
  BOOST_TEST(run("").exit == 2);
  BOOST_TEST(run("--help").exit == 0);
  auto nobody = run("status --endpoint ipc://" + (folder.path() / "nobody.sock").string());
  BOOST_TEST(nobody.exit == 3);
  BOOST_TEST(nobody.err.find("start coel-node") != std::string::npos);
  BOOST_TEST(run("status --endpoint nonsense").exit == 3);
}

BOOST_AUTO_TEST_CASE(flag_beats_environment_beats_file) {
  auto config = folder.path() / "coel.toml";
  std::ofstream(config) << "[client]\nmax_tokens = 2\nstop = [\"x\", \"y\"]\nendpoint = \"" +
                               node.endpoint() + "\"\n";
  auto use = "COEL_CONFIG='" + config.string() + "' XDG_RUNTIME_DIR=/nowhere";
  BOOST_TEST(run("generate abcdef", use).out == "ab\n");
  BOOST_TEST(run("generate abcdef", use + " COEL_MAX_TOKENS=3").out == "abc\n");
  BOOST_TEST(run("generate -n 4 abcdef", use + " COEL_MAX_TOKENS=3").out == "abcd\n");
  BOOST_TEST(run("tokenize ab", use).out == "97 98\n"); // keys of other subcommands do not hurt
  std::ofstream(config) << "[client]\nmax_tokenz = 2\n";
  auto unknown = run("generate abc", use);
  BOOST_TEST(unknown.exit == 2);
  BOOST_TEST(unknown.err.find("max-tokenz") != std::string::npos);
  std::ofstream(config) << "[client\n";
  BOOST_TEST(run("generate abc", use).exit == 2);
  BOOST_TEST(run("--config /no/such/file generate abc").exit == 2);
}

BOOST_AUTO_TEST_CASE(ctrl_c_cancels_the_answer_at_the_node) {
  auto ran = run("generate wait", "timeout -s INT 3");
  BOOST_TEST(ran.exit != 0);
  BOOST_TEST(ran.out.starts_with("w"));
  BOOST_TEST(node.eventually([&] { return node.waiting.empty() && node.gone == 1; }));
}

BOOST_AUTO_TEST_CASE(chat_at_a_terminal) {
  auto home = folder.path().string();
  auto command = "HOME='" + home + "' XDG_STATE_HOME= XDG_CONFIG_HOME= XDG_RUNTIME_DIR='" + home +
                 "' timeout 300 python3 '" COEL_SOURCE_DIR
                 "/tests/apps/client_terminal.py' '" COEL_BINARY_DIR "/coel'";
  BOOST_TEST(std::system(command.c_str()) == 0);
  BOOST_TEST(node.eventually([&] { return node.gone == 2; }));
}

BOOST_AUTO_TEST_CASE(keygen_makes_keys_that_work) {
  auto file = (folder.path() / "me").string();
  auto made = run("keygen " + file);
  BOOST_TEST(made.exit == 0);
  BOOST_TEST(run("keygen " + file).exit == 1); // never overwrites
  auto own = read_keys(file);
  auto server_keys = generate_keys();
  BOOST_REQUIRE((own.ok() && server_keys.ok()));
  app_server_options options;
  options.endpoints = {"tcp://127.0.0.1:*"};
  options.keys = *server_keys;
  options.allowed_clients = {own->public_key};
  fake_node closed(options);
  // Z85 has characters of the shell; a file with the key is the other way to give it.
  auto server_file = (folder.path() / "server").string();
  BOOST_REQUIRE(write_keys(server_file, *server_keys).ok());
  auto to_server =
      "tokenize ab --endpoint " + closed.endpoint() + " --server-key " + server_file + ".pub ";
  BOOST_TEST(run(to_server + "--keys " + file).out == "97 98\n");
  auto stranger = run(to_server);
  BOOST_TEST(stranger.exit == 3);
  BOOST_TEST(stranger.err.find("refused the keys") != std::string::npos);
  BOOST_TEST(run("status --endpoint " + closed.endpoint()).exit == 3);
}

BOOST_AUTO_TEST_SUITE_END()
