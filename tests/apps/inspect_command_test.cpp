// What a user may say to the inspector, and what is said to them where they may not.
#include "apps/inspect/command.hpp"

#include <boost/test/unit_test.hpp>

using namespace coel;
using namespace coel::inspect;
using namespace std::chrono_literals;

namespace {

command parsed(std::string_view line) {
  auto made = parse_command(line);
  BOOST_REQUIRE_MESSAGE(made.ok(), line << ": " << (made.ok() ? "" : made.err().message));
  return *made;
}

/// Why a line is refused; empty if it is not.
std::string refusal(std::string_view line) {
  auto made = parse_command(line);
  if (made.ok())
    return {};
  BOOST_TEST((made.err().code == ec::bad_argument));
  return made.err().message;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(inspect_command)

BOOST_AUTO_TEST_CASE(every_question_is_asked_as_it_is_called) {
  for (const auto& name : watchable_names()) {
    auto made = parsed("  " + name + "\t \r\n");
    BOOST_TEST((made.what == command::kind::ask));
    BOOST_TEST(made.name == name);
    bool of_cluster = name == "nodes" || name == "links" || name == "placement";
    BOOST_TEST(made.ask.what == (of_cluster ? "cluster" : name));
    BOOST_TEST(made.ask.model.empty());
    BOOST_TEST(!made.every.has_value());
  }
}

BOOST_AUTO_TEST_CASE(an_empty_line_is_nothing) {
  for (const char* line : {"", " ", "\t\r\n"})
    BOOST_TEST((parsed(line).what == command::kind::nothing));
}

BOOST_AUTO_TEST_CASE(help_and_the_end) {
  BOOST_TEST((parsed("help").what == command::kind::help));
  BOOST_TEST((parsed("quit").what == command::kind::quit));
  BOOST_TEST((parsed("exit").what == command::kind::quit));
  for (const auto& name : command_names())
    BOOST_TEST(has(help_text(), name + " "), name);
}

BOOST_AUTO_TEST_CASE(actors_by_depth) {
  BOOST_TEST(parsed("actors").ask.depth == 0u);
  BOOST_TEST(parsed("actors layers").ask.depth == 1u);
  BOOST_TEST(parsed("actors all").ask.depth == 2u);
}

BOOST_AUTO_TEST_CASE(experts_of_a_model_and_a_layer) {
  auto made = parsed("experts");
  BOOST_TEST(!made.layer.has_value());
  made = parsed("experts 3");
  BOOST_TEST(made.layer.value() == 3u);
  BOOST_TEST(made.ask.model.empty());
  made = parsed("experts qwen-2.5 12");
  BOOST_TEST(made.layer.value() == 12u);
  BOOST_TEST(made.ask.model == "qwen-2.5");
  made = parsed("experts my own model");
  BOOST_TEST(!made.layer.has_value());
  BOOST_TEST(made.ask.model == "my own model");
}

BOOST_AUTO_TEST_CASE(trace_of_a_request_and_a_step) {
  BOOST_TEST(parsed("trace").ask.target == 0u); // the newest
  auto made = parsed("trace 18446744073709551615 7");
  BOOST_TEST(made.ask.target == UINT64_MAX);
  BOOST_TEST(made.step.value() == 7u);
  BOOST_TEST(!parsed("trace 5").step.has_value());
}

BOOST_AUTO_TEST_CASE(watch_repeats_another) {
  auto made = parsed("watch experts tiny 2");
  BOOST_TEST((made.what == command::kind::ask));
  BOOST_TEST(made.ask.what == "experts");
  BOOST_TEST(made.ask.model == "tiny");
  BOOST_TEST(made.layer.value() == 2u);
  BOOST_TEST((made.every.value() == 1000ms));
  BOOST_TEST((parsed("watch 0.25 status").every.value() == 250ms));
  BOOST_TEST((parsed("watch 3600 status").every.value() == 3600s));
}

BOOST_AUTO_TEST_CASE(a_refusal_tells_what_is_possible) {
  struct wrong {
    const char *line, *what, *possible;
  };
  for (auto w : {wrong{"statsu", "'statsu'", "status, actors, experts"},
                 {"STATUS", "'STATUS'", "status"},
                 {"status now", "'now' is too much", "usage: status"},
                 {"quit now", "'now' is too much", "usage: quit"},
                 {"actors gates", "'gates'", "usage: actors [layers|all]"},
                 {"actors all layers", "'layers' is too much", "usage: actors [layers|all]"},
                 {"experts tiny 1.5", "'1.5' is not the number of a layer", "[MODEL] [LAYER]"},
                 {"trace newest", "'newest' is not the number of a request", "[REQUEST] [STEP]"},
                 {"trace 0", "'0' is not the number of a request", "[REQUEST] [STEP]"},
                 {"trace -1", "'-1' is not", "[REQUEST] [STEP]"},
                 {"trace 99999999999999999999", "is not the number of a request", "[REQUEST]"},
                 {"trace 1 x", "'x' is not the number of a step", "[REQUEST] [STEP]"},
                 {"trace 1 2 3", "'3' is too much", "[REQUEST] [STEP]"},
                 {"watch", "nothing to watch", "usage: watch [SECONDS] COMMAND"},
                 {"watch 2", "nothing to watch", "usage: watch [SECONDS] COMMAND"},
                 {"watch quit", "'quit' cannot be watched", "status, actors, experts"},
                 {"watch watch status", "'watch' cannot be watched", "status, actors"},
                 {"watch 0 status", "'0' is not a number of seconds", "from 0.1 to 3600"},
                 {"watch 3601 status", "'3601' is not a number of seconds", "from 0.1 to 3600"},
                 {"watch 1.2.3 status", "'1.2.3' is not a number of seconds", "0.1 to 3600"},
                 {"watch . status", "'.' is not a number of seconds", "0.1 to 3600"},
                 {"watch 1 status now", "'now' is too much", "usage: status"}}) {
    auto why = refusal(w.line);
    BOOST_TEST(has(why, w.what), w.line << ": " << why);
    BOOST_TEST(has(why, w.possible), w.line << ": " << why);
  }
}

BOOST_AUTO_TEST_CASE(any_bytes_are_words_or_none) {
  std::string line;
  for (int c = 1; c < 256; ++c)
    line += static_cast<char>(c);
  BOOST_TEST(!refusal(line).empty());
  BOOST_TEST(has(refusal(std::string(100'000, 'x')), "is none of"));
  BOOST_TEST(!refusal(std::string("status\0", 7)).empty());
}

BOOST_AUTO_TEST_SUITE_END()
