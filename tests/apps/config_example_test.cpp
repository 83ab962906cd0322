// config/*.example as the programs read it: every line of it, those that are commented out too.
#include "apps/node/options.hpp"
#include "tests/apps/client_run.hpp"
#include "tests/net/fake_node.hpp"

#include <boost/test/unit_test.hpp>
#include <toml++/toml.h>

#include <regex>
#include <set>
#include <sstream>

using namespace coel;
using coel::net::test::scratch_folder;

namespace {

const std::filesystem::path examples = std::filesystem::path(COEL_SOURCE_DIR) / "config";

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// "# key = value" without its mark; a sentence stays a comment.
std::string activated(const std::string& line) {
  auto equals = line.find(" = ");
  if (!line.starts_with("# ") || equals == std::string::npos ||
      line.find_first_not_of("abcdefghijklmnopqrstuvwxyz-", 2) != equals)
    return line;
  return line.substr(2);
}

/// The example with nothing commented out, and the value of each key that `replace` knows.
std::string whole_example(const std::map<std::string, std::string>& replace = {}) {
  std::istringstream in(read(examples / "coel.toml.example"));
  std::string out;
  bool client = false;
  for (std::string line; std::getline(in, line);) {
    line = activated(line);
    client = client || line == "[client]";
    auto changed = client ? replace.end() : replace.find(line.substr(0, line.find(' ')));
    out += (changed == replace.end() ? line : changed->first + " = " + changed->second) + "\n";
  }
  return out;
}

/// Long options at the beginning of a help's lines, of those that mention `part`.
std::set<std::string> options_of(const std::string& help, const std::string& part = "") {
  static const std::regex name("^ {2,4}(-\\w, *)?--([a-z][a-z0-9-]*)");
  std::set<std::string> out;
  std::string option, text;
  auto add = [&] {
    if (!option.empty() && text.find(part) != std::string::npos)
      out.insert(option);
  };
  std::istringstream in(help);
  for (std::string line; std::getline(in, line);) {
    std::smatch found;
    if (std::regex_search(line, found, name)) {
      add();
      option = found[2];
      text.clear();
    }
    text += line;
  }
  add();
  return out;
}

std::filesystem::path written(const scratch_folder& folder, const std::string& text) {
  auto path = folder.path() / "coel.toml";
  std::ofstream(path) << text;
  return path;
}

/// The node's own parser on a file; its exit code where it refuses.
std::variant<app::node_options, int> node_reads(const std::filesystem::path& file) {
  std::vector<std::string> words{"coel-node", "--config", file.string()};
  std::vector<char*> argv;
  for (auto& word : words)
    argv.push_back(word.data());
  return app::read_options(static_cast<int>(argv.size()), argv.data());
}

struct fixture {
  scratch_folder folder;
  std::string key_file = (folder.path() / "node.key").string();

  fixture() { BOOST_REQUIRE_EQUAL(test::run_coel(folder.path(), "keygen " + key_file).exit, 0); }
  std::string quoted(const std::string& text) const { return "\"" + text + "\""; }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(config_example, fixture)

BOOST_AUTO_TEST_CASE(every_example_is_toml) {
  size_t found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(examples)) {
    BOOST_CHECK_NO_THROW(toml::parse(read(entry.path())));
    ++found;
  }
  BOOST_TEST(found >= 1u);
  BOOST_CHECK_NO_THROW(toml::parse(whole_example()));
  BOOST_TEST(toml::parse(whole_example()).size() >
             toml::parse(read(examples / "coel.toml.example")).size());
}

BOOST_AUTO_TEST_CASE(the_node_knows_every_key) {
  auto help = test::run_program("coel-node", folder.path(), "--help").out;
  for (const auto& [key, value] : toml::parse(whole_example()))
    if (!value.is_table()) {
      auto at = help.find("--" + std::string(key.str()));
      BOOST_REQUIRE_MESSAGE(at != std::string::npos, key.str() << " is no option of coel-node");
      BOOST_TEST(std::string(" ,\n").find(help[at + 2 + key.str().size()]) != std::string::npos,
                 key.str());
    }
}

BOOST_AUTO_TEST_CASE(every_option_of_the_node_is_in_the_example) {
  auto shown = toml::parse(whole_example());
  auto options = options_of(test::run_program("coel-node", folder.path(), "--help").out);
  BOOST_TEST(options.size() > 25u);
  for (const auto& option : options)
    if (option != "help" && option != "version" && option != "config")
      BOOST_TEST(shown.contains(option), "--" << option);
}

BOOST_AUTO_TEST_CASE(every_setting_of_the_client_is_in_the_example) {
  auto shown = *toml::parse(whole_example())["client"].as_table();
  for (const char* command : {"status", "generate", "chat", "score"}) {
    auto help = test::run_coel(folder.path(), std::string(command) + " --help").out;
    auto options = options_of(help, "COEL_"); // what has a variable is a setting
    BOOST_TEST(options.size() >= 4u, help);
    for (const auto& option : options)
      BOOST_TEST(shown.contains(option), command << " --" << option);
  }
  BOOST_TEST(shown["endpoint"].as_array()->size() >= 2u); // how several are written
}

BOOST_AUTO_TEST_CASE(every_setting_of_a_cluster_reaches_the_node) {
  auto read = node_reads(written(folder, whole_example({{"keys", quoted(key_file)},
                                                        {"name", quoted("attic")},
                                                        {"state", quoted("/s")},
                                                        {"link-port", "7421"},
                                                        {"hello-port", "0"},
                                                        {"wire", quoted("int8")},
                                                        {"missing-patience-ms", "17"},
                                                        {"models", quoted("/m")}})));
  BOOST_REQUIRE(std::holds_alternative<app::node_options>(read));
  const auto& o = std::get<app::node_options>(read);
  BOOST_REQUIRE(o.node.cluster.has_value());
  const auto& c = *o.node.cluster;
  BOOST_TEST(c.file == "/etc/coel/cluster.toml");
  BOOST_TEST(c.name == "attic");
  BOOST_TEST(c.state_folder == "/s");
  BOOST_TEST(c.peers.size() == 2u);
  BOOST_TEST(c.listen == std::vector<std::string>{"10.0.0.6"}, boost::test_tools::per_element());
  BOOST_TEST(c.link_port.value() == 7421);
  BOOST_TEST(c.hello_port.value() == 0);
  BOOST_TEST((c.wire == net::wire_type::int8));
  BOOST_TEST(c.missing_patience.count() == 17);
  BOOST_TEST(o.node.hosting.helper_only);
  BOOST_TEST(o.node.join.names == std::vector<std::string>{"qwen"},
             boost::test_tools::per_element());
  BOOST_TEST(o.node.join.folder == "/m");
  BOOST_TEST(o.quiet);
}

BOOST_AUTO_TEST_CASE(a_helper_needs_a_cluster) {
  auto alone = written(folder, "model = [\"/m\"]\nhelper = true\n");
  BOOST_TEST(std::get<int>(node_reads(alone)) == 2);
}

BOOST_AUTO_TEST_CASE(the_node_reads_the_defaults_as_they_are) {
  auto read = node_reads(examples / "coel.toml.example");
  BOOST_REQUIRE(std::holds_alternative<app::node_options>(read));
  const auto& o = std::get<app::node_options>(read);
  app::node_options unset;
  BOOST_REQUIRE_EQUAL(o.node.models.size(), 1u);
  BOOST_TEST(o.node.models[0].path.filename() == "qwen1.5-moe-a2.7b-q4_0.gguf");
  BOOST_TEST(o.device.threads == unset.device.threads);
  BOOST_TEST(o.node.ram_bytes == unset.node.ram_bytes);
  BOOST_TEST(o.node.hosting.kv_bytes == unset.node.hosting.kv_bytes);
  BOOST_TEST(o.node.hosting.max_sessions == unset.node.hosting.max_sessions);
  BOOST_TEST(o.node.hosting.max_queue == unset.node.hosting.max_queue);
  BOOST_TEST(o.node.hosting.max_rows == unset.node.hosting.max_rows);
  BOOST_TEST(o.node.hosting.slice_rows == unset.node.hosting.slice_rows);
  BOOST_TEST(o.node.default_deadline_ms == unset.node.default_deadline_ms);
  BOOST_TEST(o.drain_ms == unset.drain_ms);
}

BOOST_AUTO_TEST_CASE(every_value_reaches_the_node) {
  auto file = written(folder, whole_example({{"model", R"(["a=/m/a.gguf", "/m/b.gguf"])"},
                                             {"threads", "3"},
                                             {"kernels", quoted("reference")},
                                             {"ram", quoted("8GB")},
                                             {"kv", quoted("1GB")},
                                             {"sessions", "5"},
                                             {"queue", "6"},
                                             {"rows", "7"},
                                             {"slice", "2"},
                                             {"deadline-ms", "9"},
                                             {"drain-ms", "10"},
                                             {"keys", quoted(key_file)}}));
  auto read = node_reads(file);
  BOOST_REQUIRE(std::holds_alternative<app::node_options>(read));
  const auto& o = std::get<app::node_options>(read);
  BOOST_REQUIRE_EQUAL(o.node.models.size(), 2u);
  BOOST_TEST(o.node.models[0].name == "a");
  BOOST_TEST(o.node.models[1].path == "/m/b.gguf");
  BOOST_TEST(o.device.threads == 3u);
  BOOST_TEST(o.device.kernels == "reference");
  BOOST_TEST(o.node.ram_bytes == 8ull << 30);
  BOOST_TEST(o.node.hosting.kv_bytes == 1ull << 30);
  BOOST_TEST(o.node.hosting.max_sessions == 5u);
  BOOST_TEST(o.node.hosting.max_queue == 6u);
  BOOST_TEST(o.node.hosting.max_rows == 7u);
  BOOST_TEST(o.node.hosting.slice_rows == 2u);
  BOOST_TEST(o.node.default_deadline_ms == 9u);
  BOOST_TEST(o.drain_ms == 10u);
  BOOST_TEST(!o.node.hosting.record_routing.empty());
  BOOST_TEST(o.node.server.endpoints.size() == 2u);
  BOOST_TEST(o.node.server.allowed_clients.size() == 1u);
  BOOST_TEST(o.node.server.allow_any_client);
  BOOST_TEST(o.node.server.keys.has_value());
}

BOOST_AUTO_TEST_CASE(a_value_that_cannot_be_is_refused) {
  for (const char* wrong :
       {"sessions = 0", "rows = 100000", "threads = \"many\"", "ram = \"8XB\"", "queue = -1",
        "missing-patience-ms = -1", "missing-patience-ms = 1000000000"})
    BOOST_TEST(
        std::get<int>(node_reads(written(folder, "model = [\"/m\"]\n" + std::string(wrong)))) == 2,
        wrong);
}

BOOST_AUTO_TEST_CASE(the_client_knows_every_key) {
  auto file = written(folder, whole_example()).string();
  auto keys = toml::parse(whole_example())["client"].as_table()->size();
  BOOST_TEST(keys > 10u); // they are all commented out in the file
  auto ran = test::run_coel(folder.path(), "--config " + file +
                                               " status --endpoint ipc:///nowhere --keys '" +
                                               key_file + "' --server-key " + key_file + ".pub");
  BOOST_TEST(ran.exit == 3, ran.err); // understood; but nobody is there
  written(folder, whole_example() + "temprature = 1\n");
  ran = test::run_coel(folder.path(), "--config " + file + " status");
  BOOST_TEST(ran.exit == 2);
  BOOST_TEST(ran.err.find("temprature") != std::string::npos, ran.err);
}

BOOST_AUTO_TEST_SUITE_END()
