// What the inspector shows of a cluster.
#include "apps/inspect/command.hpp"
#include "apps/inspect/completion.hpp"
#include "apps/inspect/render.hpp"
#include "tests/apps/inspect_support.hpp"

#include <boost/test/unit_test.hpp>

using namespace coel;
using namespace coel::inspect;
using namespace coel::test;
using nlohmann::json;

namespace {

const look plain_look{80, false, true};
const look ascii_look{80, false, false};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A cluster of 16 nodes that hold a large model together.
json wide_document() {
  auto d = cluster_document();
  std::vector<std::vector<std::string>> maps(16,
                                             std::vector<std::string>(48, std::string(129, '.')));
  for (size_t l = 0; l < 48; ++l)
    for (size_t e = 0; e < 129; ++e)
      for (size_t n = 0; n <= e % 12; ++n)
        maps[(e + l + n) % 16][l][e] = '#';
  d["placement"] = {placement_entry(maps)};
  return d;
}

std::vector<std::string> everything(const look& how) {
  auto advised = network_entry();
  advised["advice"] =
      "this machine alone would take 3000 us a token, by prediction, instead of 5000 us";
  auto lonely = cluster_document();
  lonely["links"] = lonely["placement"] = lonely["network"] = json::array();
  lonely["hello"] = {{"trouble", "udp port 698 is taken by another program"},
                     {"heard", json::array()}};
  auto status = status_document();
  status["cluster"] = {{"name", "n1"}, {"nodes", 3}, {"up", 2}, {"network", {advised}}};
  json drain = {
      {"action", "drain"}, {"node", "n2"}, {"key", key_of('2')}, {"then", "it takes no new work"}};
  return {render_nodes(cluster_document(), how),
          render_nodes(lonely, how),
          render_links(cluster_document(), how),
          render_links(lonely, how),
          render_network(advised, how),
          render_status(status, how),
          render_placement(cluster_document(), "", how),
          render_placement(wide_document(), "demo", how),
          render_placement(lonely, "", how),
          render_trace(neighbour_trace_document(), {}, how),
          render_trace(neighbour_trace_document(), 4, how),
          render_action(drain, how)};
}

} // namespace

BOOST_AUTO_TEST_SUITE(inspect_cluster)

BOOST_AUTO_TEST_CASE(no_line_is_wider_than_the_terminal) {
  for (size_t width : {20u, 40u, 60u, 80u, 100u, 200u})
    for (const auto& text : everything({width, true, true}))
      BOOST_TEST(widest_line(text) <= width, "in " << width << " columns:\n" << text);
  for (const auto& text : everything(ascii_look))
    for (unsigned char c : text)
      BOOST_REQUIRE_MESSAGE((c >= 0x20 && c < 0x7f) || c == '\n', text);
}

BOOST_AUTO_TEST_CASE(nodes_say_who_holds_what_and_who_is_heard) {
  auto text = render_nodes(cluster_document(), plain_look);
  for (const char* part :
       {"n1, one of 2 nodes, 2 up;", "tcp://10.0.0.1:7420", "8 experts, 1 of them held by nobody",
        "2 on their way", "hold 5 more", "10.0.0.7", "symmetric", "0.97", "80 %",
        "Not let in: expelled 3, no-key 412."})
    BOOST_TEST(has(text, part), part << " in\n" << text);
  auto lines = lines_of(text);
  auto row = [&](const std::string& begin) {
    for (const auto& line : lines)
      if (line.starts_with(begin))
        return line;
    return std::string();
  };
  BOOST_TEST(row("n1 ") == "n1    this      complete  yes            12      3         3", text);
  BOOST_TEST(row("n2 ") == "n2    draining  complete  yes            12      2         3", text);
  BOOST_TEST(has(text, "n2    " + key_of('2')), text);
  auto deaf = cluster_document();
  deaf["hello"]["trouble"] = "udp port 698 is taken";
  BOOST_TEST(has(render_nodes(deaf, plain_look), "No HELLO is heard: udp port 698 is taken"));
}

BOOST_AUTO_TEST_CASE(links_say_what_is_wrong_and_what_it_costs) {
  auto text = render_links(cluster_document(), plain_look);
  for (const char* part :
       {"n2    up       tcp://10.0.0.7:7420      250", "tcp://10.0.0.7:7420: update n9", "321",
        "2.0 KiB", "4.0 KiB", "a token takes 5000 us, 25 % of it waiting for neighbours",
        "3.5 rounds", "and 20.0 KiB", "nothing is predicted yet"})
    BOOST_TEST(has(text, part), part << " in\n" << text);
  auto alone = cluster_document();
  alone["links"] = json::array();
  BOOST_TEST(has(render_links(alone, plain_look), "No neighbour is known"));
}

BOOST_AUTO_TEST_CASE(advice_is_given_where_there_is_some) {
  auto entry = network_entry();
  BOOST_TEST(!has(render_network(entry, plain_look), "advice"));
  entry["alone_us_per_token"] = 3000;
  entry["advice"] = "stay alone";
  auto text = render_network(entry, plain_look);
  BOOST_TEST(has(text, "3000 us predicted for this machine"), text);
  BOOST_TEST(has(text, "\nadvice: stay alone\n"), text);
  entry["tokens"] = 0;
  BOOST_TEST(render_network(entry, plain_look) == "demo: no token yet\n");
}

BOOST_AUTO_TEST_CASE(a_small_map_has_columns_for_each_node) {
  auto lines = lines_of(render_placement(cluster_document(), "", plain_look));
  BOOST_TEST(lines.at(0) ==
             "demo: 2 layers of 4 experts; held by nobody: 1, 1 node: 5, 2 nodes: 2; epoch 7");
  BOOST_TEST(lines.at(1) == "layer n1   n2");
  BOOST_TEST(lines.at(2) == "    0 █▒·· ·▒█·");
  BOOST_TEST(lines.at(3) == "    1 █··· ····");
  auto ascii = lines_of(render_placement(cluster_document(), "", ascii_look));
  BOOST_TEST(ascii.at(2) == "    0 #+.. .+#.");
}

BOOST_AUTO_TEST_CASE(a_large_map_has_a_letter_for_each_expert) {
  auto d = cluster_document();
  d["placement"] = {placement_entry({{"##..", "#..."}, {".##.", "...."}})};
  auto lines = lines_of(render_placement(d, "demo", {12, false, true}));
  auto at = std::find(lines.begin(), lines.end(), "layer 0");
  BOOST_REQUIRE(at != lines.end());
  BOOST_TEST(at[1] == "    0 A2B!");
  BOOST_TEST(at[2] == "    1 A!!!");
  auto wide = lines_of(render_placement(wide_document(), "", plain_look));
  size_t blocks = 0;
  for (const auto& line : wide)
    blocks += line.starts_with("layer ");
  BOOST_TEST(blocks == 2u); // 129 experts, 72 in a line
  auto first = std::find_if(wide.begin(), wide.end(),
                            [](const auto& line) { return line.starts_with("    0 "); });
  BOOST_REQUIRE(first != wide.end());
  BOOST_TEST(first->starts_with("    0 A23456789***M23456789***"), *first);
}

BOOST_AUTO_TEST_CASE(a_node_that_is_down_holds_nothing) {
  auto d = cluster_document();
  d["placement"][0]["nodes"][1]["up"] = false;
  auto lines = lines_of(render_placement(d, "", plain_look));
  BOOST_TEST(lines.at(1) == "layer n1");
  BOOST_TEST(lines.at(2) == "    0 ██··");
}

BOOST_AUTO_TEST_CASE(odd_maps_are_refused) {
  BOOST_CHECK_EXCEPTION(render_placement(cluster_document(), "other", plain_look),
                        std::out_of_range,
                        [](const auto& e) { return has(e.what(), "there is: demo"); });
  auto d = cluster_document();
  d["placement"][0]["layers"] = 3;
  BOOST_CHECK_THROW(render_placement(d, "", plain_look), std::out_of_range);
  d = cluster_document();
  d["placement"][0]["nodes"][1]["map"][1] = "##";
  BOOST_CHECK_THROW(render_placement(d, "", plain_look), std::out_of_range);
  d["placement"][0]["nodes"] = json::array();
  d["placement"][0]["layers"] = d["placement"][0]["experts_per_layer"] =
      4e15; // borne out by nobody
  BOOST_TEST(widest_line(render_placement(d, "", plain_look)) <= 80u);
  for (const char* text :
       {"{}", "[]", "null", R"({"placement":[{}]})", R"({"links":[{}],"network":[]})"}) {
    auto odd = json::parse(text);
    BOOST_CHECK_THROW(render_nodes(odd, plain_look), json::exception);
    BOOST_CHECK_THROW(render_links(odd, plain_look), json::exception);
    BOOST_CHECK_THROW(render_placement(odd, "", plain_look), json::exception);
    BOOST_CHECK_THROW(render_action(odd, plain_look), json::exception);
  }
}

BOOST_AUTO_TEST_CASE(a_trace_tells_the_wait_from_the_work) {
  auto text = render_trace(neighbour_trace_document(), {}, plain_look);
  auto lines = lines_of(text);
  BOOST_TEST(has(lines.at(1), "EXPERTS  WAIT  HEAD"), text);
  BOOST_TEST(
      has(lines.at(2), "   4       100      0         20    10       25    35    10        0"),
      text);
  BOOST_TEST(has(text, "n2              1       60        40             20          60"), text);
  auto one = render_trace(neighbour_trace_document(), 4, plain_look);
  BOOST_TEST(has(one, "    0  n2            30       60        40             20"), one);
  BOOST_TEST(!has(render_trace(trace_document(0, 3), {}, plain_look), "WAIT"));
}

BOOST_AUTO_TEST_CASE(commands_of_a_cluster) {
  auto parsed = [](std::string_view line) { return *parse_command(line); };
  BOOST_TEST(parsed("nodes").ask.what == "cluster");
  BOOST_TEST(parsed("nodes").ask.depth == 0u);
  BOOST_TEST(parsed("placement my model").ask.depth == 1u);
  BOOST_TEST(parsed("placement my model").ask.model == "my model");
  BOOST_TEST(parsed("watch 2 links").ask.what == "cluster");
  BOOST_TEST(parsed("drain n 2").ask.node == "n 2");
  BOOST_TEST(parsed("expel n2").ask.what == "expel");
  for (const char* line :
       {"drain", "expel", "nodes x", "links x", "watch drain n2", "watch expel n2"})
    BOOST_TEST((parse_command(line).err().code == ec::bad_argument), line);
  vocabulary known;
  known.nodes = {"n1", "n2"};
  known.models = {{"demo", 4}};
  BOOST_TEST((complete("drain n", known).candidates == std::vector<std::string>{"n1", "n2"}));
  BOOST_TEST((complete("placement ", known).candidates == std::vector<std::string>{"demo"}));
  BOOST_TEST(needs_node("expel "));
}

BOOST_AUTO_TEST_CASE(what_was_done_is_said_with_what_is_left_to_do) {
  json d = {
      {"action", "expel"}, {"node", "n2"}, {"key", key_of('2')}, {"then", "write the key down"}};
  auto text = render_action(d, {200, false, true});
  BOOST_TEST(text == "n2, " + key_of('2') + " is expelled: write the key down\n");
  d["node"] = "\x1b[2J";
  BOOST_TEST(!has(render_action(d, plain_look), "\x1b"));
}

BOOST_AUTO_TEST_SUITE_END()
