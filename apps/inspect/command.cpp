#include "apps/inspect/command.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace coel::inspect {

namespace {

constexpr double longest_wait_s = 3600, shortest_wait_s = 0.1;

struct entry {
  const char* name;
  const char* arguments;
  const char* help;
};

constexpr entry entries[] = {
    {"status", "", "the node in a few lines"},
    {"actors", "[layers|all]", "mailboxes, messages, time spent; by layer, or each expert"},
    {"experts", "[MODEL] [LAYER]", "popularity and residency as a heat map, or of one layer"},
    {"sessions", "", "requests that run or wait, tokens per second"},
    {"memory", "", "memory by tier and model"},
    {"trace", "[REQUEST] [STEP]", "where the microseconds of a request's tokens went"},
    {"nodes", "", "the cluster's nodes: what each holds, who is heard"},
    {"links", "", "connections to neighbours, and what they cost"},
    {"placement", "[MODEL]", "which node holds which expert, as a map"},
    {"drain", "NODE", "NODE takes no new work and others take its experts over"},
    {"expel", "NODE", "nothing from NODE is heard any more"},
    {"metrics", "", "counters as Prometheus text"},
    {"watch", "[SECONDS] COMMAND", "a command again and again, until Ctrl-C"},
    {"help", "", "this"},
    {"quit", "", "the end; so is Ctrl-D"},
};

using words = std::vector<std::string>;

error usage(const std::string& name, const std::string& why) {
  for (const auto& e : entries)
    if (name == e.name)
      return {ec::bad_argument,
              why + "; usage: " + name + (*e.arguments ? " " : "") + std::string(e.arguments)};
  return {ec::bad_argument, why};
}

result<uint64_t> number(const std::string& name, const std::string& what, const std::string& word) {
  uint64_t value = 0;
  auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (failure != std::errc() || end != word.data() + word.size())
    return usage(name, "'" + word + "' is not the number of a " + what);
  return value;
}

error too_much(const std::string& name, const std::string& word) {
  return usage(name, "'" + word + "' is too much");
}

std::string joined(const words& rest) {
  std::string name;
  for (const auto& word : rest)
    name += (name.empty() ? "" : " ") + word;
  return name;
}

result<command> parse_actors(command made, const words& rest) {
  if (rest.empty())
    return made;
  if (rest[0] != "layers" && rest[0] != "all")
    return usage("actors", "'" + rest[0] + "' is not 'layers' or 'all'");
  if (rest.size() > 1)
    return too_much("actors", rest[1]);
  made.ask.depth = rest[0] == "layers" ? 1 : 2;
  return made;
}

/// A name of several words is a name still; a number at the end is a layer.
result<command> parse_experts(command made, words rest) {
  if (!rest.empty() && is_number(rest.back())) {
    auto layer = number("experts", "layer", rest.back());
    if (!layer)
      return layer.err();
    made.layer = *layer;
    rest.pop_back();
  }
  made.ask.model = joined(rest);
  return made;
}

result<command> parse_trace(command made, const words& rest) {
  if (rest.size() > 2)
    return too_much("trace", rest[2]);
  if (!rest.empty()) {
    auto request = number("trace", "request", rest[0]);
    if (!request || *request == 0)
      return usage("trace", "'" + rest[0] + "' is not the number of a request");
    made.ask.target = *request;
  }
  if (rest.size() == 2) {
    auto step = number("trace", "step", rest[1]);
    if (!step)
      return step.err();
    made.step = *step;
  }
  return made;
}

/// What all questions about the cluster ask; the name says how the answer is shown.
result<command> parse_cluster(command made, const words& rest) {
  made.ask.what = "cluster";
  if (made.name != "placement" && !rest.empty())
    return too_much(made.name, rest.front());
  made.ask.depth = made.name == "placement" ? 1 : 0;
  made.ask.model = joined(rest);
  return made;
}

/// A name of several words is a name still.
result<command> parse_action(command made, const words& rest) {
  if (rest.empty())
    return usage(made.name, "which node? give its name or its public key");
  made.ask.node = joined(rest);
  return made;
}

std::string list_of(const words& names) {
  std::string list;
  for (const auto& name : names)
    list += (list.empty() ? "" : ", ") + name;
  return list;
}

result<command> parse_words(words said);

result<double> wait_s(const std::string& word) {
  double seconds = 0;
  auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), seconds);
  if (failure != std::errc() || end != word.data() + word.size() ||
      !(seconds >= shortest_wait_s && seconds <= longest_wait_s))
    return usage("watch", "'" + word + "' is not a number of seconds from 0.1 to 3600");
  return seconds;
}

result<command> parse_watch(words rest) {
  double seconds = 1;
  if (!rest.empty() && is_number(rest.front())) {
    auto given = wait_s(rest.front());
    if (!given)
      return given.err();
    seconds = *given;
    rest.erase(rest.begin());
  }
  const auto& possible = watchable_names();
  if (rest.empty() || std::find(possible.begin(), possible.end(), rest.front()) == possible.end())
    return usage("watch", rest.empty() ? "nothing to watch"
                                       : "'" + rest.front() + "' cannot be watched, which " +
                                             list_of(possible) + " can");
  auto made = parse_words(std::move(rest));
  if (made.ok())
    made->every = std::chrono::milliseconds(std::llround(seconds * 1000));
  return made;
}

result<command> parse_words(words said) {
  command made;
  if (said.empty())
    return made;
  auto name = said.front();
  said.erase(said.begin());
  if (name == "exit")
    name = "quit";
  const auto& names = command_names();
  if (std::find(names.begin(), names.end(), name) == names.end())
    return error{ec::bad_argument, "'" + name + "' is none of " + list_of(names)};
  if (name == "watch")
    return parse_watch(std::move(said));
  made.what = name == "help"   ? command::kind::help
              : name == "quit" ? command::kind::quit
                               : command::kind::ask;
  made.name = made.ask.what = name;
  if (name == "actors")
    return parse_actors(made, said);
  if (name == "experts")
    return parse_experts(made, said);
  if (name == "trace")
    return parse_trace(made, said);
  if (name == "nodes" || name == "links" || name == "placement")
    return parse_cluster(made, said);
  if (name == "drain" || name == "expel")
    return parse_action(made, said);
  if (!said.empty())
    return too_much(name, said.front());
  return made;
}

} // namespace

result<command> parse_command(std::string_view line) {
  return parse_words(words_of(line));
}

std::string help_text() {
  std::string out;
  for (const auto& e : entries) {
    std::string left = std::string(e.name) + " " + e.arguments;
    left.resize(std::max<size_t>(left.size(), 25), ' ');
    out += left + e.help + "\n";
  }
  return out;
}

const std::vector<std::string>& command_names() {
  static const auto names = [] {
    std::vector<std::string> all;
    for (const auto& e : entries)
      all.emplace_back(e.name);
    return all;
  }();
  return names;
}

const std::vector<std::string>& watchable_names() {
  static const auto names = [] {
    auto all = command_names();
    const words other{"drain", "expel", "watch", "help", "quit"};
    std::erase_if(all, [&](const auto& n) {
      return std::find(other.begin(), other.end(), n) != other.end();
    });
    return all;
  }();
  return names;
}

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> out;
  constexpr const char* blanks = " \t\r\n";
  for (size_t at = line.find_first_not_of(blanks); at != std::string_view::npos;) {
    auto end = std::min(line.find_first_of(blanks, at), line.size());
    out.emplace_back(line.substr(at, end - at));
    at = line.find_first_not_of(blanks, end);
  }
  return out;
}

bool is_number(std::string_view word) {
  return !word.empty() && word.find_first_not_of("0123456789.") == std::string_view::npos;
}

} // namespace coel::inspect
