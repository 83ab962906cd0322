// The inspector's documents as text.
#include "apps/inspect/render.hpp"
#include "tests/apps/inspect_support.hpp"

#include <boost/test/unit_test.hpp>

using namespace coel::inspect;
using namespace coel::test;
using nlohmann::json;

namespace {

const look plain_look{80, false, true};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

json busy_experts(size_t layers, size_t experts) {
  experts_shape s{layers, experts, 4};
  s.popularity = [](size_t l, size_t e) { return l == 1 && e == 3 ? 0.75 : 0.01; };
  s.absent = [](size_t, size_t e) { return e == 5; };
  return experts_document(s);
}

/// Every document of a busy node, and of an empty one.
std::vector<std::string> everything(const look& how) {
  json sessions = {
      {"sessions", {session_entry(3, "decode", 100.5), session_entry(4, "queued", 0)}}};
  sessions["sessions"][0]["model"] = std::string(70, 'm');
  return {render_status(status_document(), how),
          render_actors(actors_document(), how),
          render_experts(busy_experts(24, 60), how),
          render_experts(busy_experts(48, 128), how),
          render_experts(experts_document({}), how),
          render_layer(busy_experts(24, 60), 1, how),
          render_sessions(sessions, how),
          render_sessions({{"sessions", json::array()}}, how),
          render_memory(memory_document(4 << 20), how),
          render_memory({{"tiers", json::array()}, {"models", json::array()}}, how),
          render_trace(trace_document(0, 30), {}, how),
          render_trace({{"request", 1}, {"model", "demo"}, {"tokens", json::array()}}, {}, how)};
}

} // namespace

BOOST_AUTO_TEST_SUITE(inspect_render)

BOOST_AUTO_TEST_CASE(no_line_is_wider_than_the_terminal) {
  for (size_t width : {20u, 40u, 60u, 80u, 100u, 200u})
    for (const auto& text : everything({width, true, true}))
      BOOST_TEST(widest_line(text) <= width, "in " << width << " columns:\n" << text);
}

BOOST_AUTO_TEST_CASE(no_colour_and_no_blocks_where_there_are_none) {
  for (const auto& text : everything({80, false, false}))
    for (unsigned char c : text)
      BOOST_REQUIRE_MESSAGE((c >= 0x20 && c < 0x7f) || c == '\n', text);
}

BOOST_AUTO_TEST_CASE(status_says_what_runs) {
  auto text = render_status(status_document(), plain_look);
  for (const char* part : {"node 0.1.0", "scalar", "2 threads", "up 1:02:03", "demo (qwen2moe)",
                           "1.0 MiB", "3 of 64", "1 request,", "70 tokens out", "2 errors"})
    BOOST_TEST(has(text, part), part << " in\n" << text);
  BOOST_TEST(!has(text, "draining"));
  auto draining = status_document();
  draining["node"]["draining"] = true;
  BOOST_TEST(has(render_status(draining, plain_look), "draining"));
}

BOOST_AUTO_TEST_CASE(actors_show_mailbox_messages_and_time) {
  auto lines = lines_of(render_actors(actors_document(), plain_look));
  auto row = [&](size_t i) { return lines.at(i); };
  BOOST_TEST(has(row(0), "MAILBOX"));
  for (const char* part : {"scheduler", " 7 ", " 10 ", " 2.5 ", "250.0"})
    BOOST_TEST(has(row(1), part), row(1));
  BOOST_TEST(row(2).back() == '-'); // no message, no mean
  for (const char* part : {"cpu/scalar", " 4 ", "10.0", "2500.0", "2.0 KiB"})
    BOOST_TEST(has(row(5), part), row(5));
}

BOOST_AUTO_TEST_CASE(experts_name_the_most_popular_and_where_they_are) {
  auto text = render_experts(busy_experts(3, 8), plain_look);
  BOOST_TEST(has(text, "over 1000 tokens"));
  BOOST_TEST(has(text, "most used: 1:3 by 75 %"));
  BOOST_TEST(has(text, "never used: 0 of 24"));
  BOOST_TEST(has(text, "absent: 3 experts, 0 B; in ram: 33 experts, 33.0 KiB;"), text);
  BOOST_TEST(has(text, "12 slices of shared experts among them\n"), text);
}

BOOST_AUTO_TEST_CASE(experts_of_a_node_that_has_done_nothing) {
  auto text = render_experts(experts_document({4, 16, 2, 4, 0}), plain_look);
  BOOST_TEST(has(text, "nothing routed yet"));
  BOOST_TEST(has(text, "even share of 0.250"));
  BOOST_TEST(!has(text, "most used"));
  BOOST_TEST(has(render_experts(experts_document({}), plain_look), "no routed experts"));
}

BOOST_AUTO_TEST_CASE(a_layer_is_listed_by_popularity) {
  auto lines = lines_of(render_layer(busy_experts(3, 8), 1, plain_look));
  BOOST_TEST(has(lines.at(2).substr(0, 18), "3   75.0 %"), lines.at(2));
  BOOST_TEST(lines.size() == 2 + 12u);
  for (size_t i = 10; i < 14; ++i)
    BOOST_TEST(has(lines[i], "shared"), lines[i]); // last
  BOOST_CHECK_THROW(render_layer(busy_experts(3, 8), 3, plain_look), std::out_of_range);
}

BOOST_AUTO_TEST_CASE(sessions_add_up) {
  json d = {{"sessions",
             {session_entry(3, "decode", 100.5), session_entry(4, "queued", 0),
              session_entry(5, "prefill", 20)}}};
  auto text = render_sessions(d, plain_look);
  BOOST_TEST(has(text, "2 running, 1 queued, 120.5 tokens/s together"), text);
  BOOST_TEST(has(lines_of(text).at(1), "100.5"));
  BOOST_TEST(render_sessions({{"sessions", json::array()}}, plain_look) ==
             "no request runs or waits\n");
}

BOOST_AUTO_TEST_CASE(memory_shows_how_full_a_budget_is) {
  auto text = render_memory(memory_document(4 << 20), plain_look);
  BOOST_TEST(has(lines_of(text).at(1), "3.0 MiB  4.0 MiB  ████████░░"), text);
  BOOST_TEST(has(lines_of(text).at(4), "512.0 KiB  █████░░░░░"), text);
  auto unlimited = render_memory(memory_document(0), plain_look);
  BOOST_TEST(has(lines_of(unlimited).at(1), "no limit"));
  BOOST_TEST(!has(lines_of(unlimited).at(1), "░"));
}

BOOST_AUTO_TEST_CASE(a_trace_adds_up_by_step_and_by_layer) {
  auto lines = lines_of(render_trace(trace_document(0, 30), {}, plain_look));
  BOOST_TEST(has(lines.at(0), "last 31 steps"));
  BOOST_TEST(lines_of(lines.at(2)).front().find("  23") == 0u); // the last eight of them
  BOOST_TEST(has(lines.at(10), "mean       100      5         20    10       25    10       30"),
             lines.at(10));
  BOOST_TEST(lines.at(12) == "step 30, layer by layer");
  BOOST_TEST(has(lines.at(14), " 60 "), lines.at(14)); // layer 0 took 60 us
  BOOST_TEST(has(lines.at(15), "output     60       40"), lines.at(15));
}

BOOST_AUTO_TEST_CASE(a_trace_of_one_step) {
  BOOST_TEST(has(render_trace(trace_document(10, 40), 12, plain_look), "step 12, layer by layer"));
  BOOST_CHECK_EXCEPTION(render_trace(trace_document(10, 40), 9, plain_look), std::out_of_range,
                        [](const auto& e) { return has(e.what(), "from 10 to 40"); });
  json none = {{"request", 9}, {"model", "demo"}, {"tokens", json::array()}};
  BOOST_TEST(has(render_trace(none, {}, plain_look), "no step is over yet"));
}

BOOST_AUTO_TEST_CASE(a_strange_document_is_an_exception_and_never_a_crash) {
  for (const char* text :
       {"{}", "[]", "null", "1", R"({"actors":1})", R"({"actors":[{}],"devices":[]})",
        R"({"tokens":[{}],"request":1,"model":"m"})", R"({"layers":[{"layer":0}]})",
        R"({"sessions":[{"request":"x"}]})", R"({"tiers":[1],"models":[]})"}) {
    auto d = json::parse(text);
    BOOST_CHECK_THROW(render_status(d, plain_look), json::exception);
    BOOST_CHECK_THROW(render_actors(d, plain_look), json::exception);
    BOOST_CHECK_THROW(render_experts(d, plain_look), json::exception);
    BOOST_CHECK_THROW(render_sessions(d, plain_look), json::exception);
    BOOST_CHECK_THROW(render_memory(d, plain_look), json::exception);
    BOOST_CHECK_THROW(render_trace(d, {}, plain_look), json::exception);
  }
}

BOOST_AUTO_TEST_CASE(a_stranger_s_text_cannot_steer_the_terminal) {
  auto d = status_document();
  d["models"][0]["name"] = "\x1b[2Jevil\nname\xc2\x9b";
  auto text = render_status(d, plain_look);
  BOOST_TEST(has(text, "?[2Jevil?name? (qwen2moe)"), text);
  d["models"][0]["bytes"] = 1e300; // a number that no integer holds
  d["totals"]["requests"] = -5;
  BOOST_TEST(has(render_status(d, plain_look), "0 requests"));
}

BOOST_AUTO_TEST_SUITE_END()
