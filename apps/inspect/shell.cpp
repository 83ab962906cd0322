#include "apps/inspect/shell.hpp"

#include "apps/coel/commands.hpp"
#include "apps/coel/interrupt.hpp"
#include "apps/inspect/editor.hpp"
#include "apps/inspect/render.hpp"
#include "apps/inspect/screen.hpp"

#include <iostream>
#include <poll.h>
#include <stdexcept>

namespace coel::inspect {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

namespace {

/// How often a wait for the node looks whether Ctrl-C was pressed.
constexpr auto patience = 100ms;
constexpr auto completion_patience = 2s;

int complain(const error& why) {
  std::cout << std::flush;
  std::cerr << "coel-inspect: " << printable(to_string(why)) << std::endl;
  switch (why.code) {
  case ec::io:
    return app::exit_unreachable;
  case ec::cancelled:
    return app::exit_interrupted;
  default:
    return app::exit_failed;
  }
}

std::string rendered(const command& what, const nlohmann::json& document, const look& how) {
  const auto& name = what.name;
  if (name == "nodes")
    return render_nodes(document, how);
  if (name == "links")
    return render_links(document, how);
  if (name == "placement")
    return render_placement(document, what.ask.model, how);
  if (name == "drain" || name == "expel")
    return render_action(document, how);
  if (name == "actors")
    return render_actors(document, how);
  if (name == "experts")
    return what.layer ? render_layer(document, *what.layer, how) : render_experts(document, how);
  if (name == "sessions")
    return render_sessions(document, how);
  if (name == "memory")
    return render_memory(document, how);
  if (name == "trace")
    return render_trace(document, what.step, how);
  if (name == "metrics")
    return printable_lines(document.at("text").get<std::string>());
  return render_status(document, how);
}

} // namespace

result<void> shell::attach() {
  node_.reset();
  auto made = app::connect(connection_);
  if (!made)
    return made.err();
  node_.emplace(std::move(*made));
  return {};
}

/// As app_client::ask, but Ctrl-C ends the wait.
result<std::string> shell::document_once(const inspect_request& ask,
                                         std::chrono::milliseconds timeout) {
  auto id = node_->send(ask);
  if (!id)
    return id.err();
  for (auto end = clock::now() + timeout; clock::now() < end;) {
    auto came = node_->poll(patience);
    if (app::interrupt_guard::take())
      return {ec::cancelled, "interrupted"};
    if (!came)
      return came.err();
    if (!*came || ((*came)->id != *id && (*came)->id != 0))
      continue;
    if (auto* failed = std::get_if<error>(&(*came)->reply))
      return *failed;
    if (auto* document = std::get_if<document_reply>(&(*came)->reply))
      return std::move(document->json);
  }
  return {ec::deadline, "no reply from the node within " + std::to_string(timeout.count()) + " ms"};
}

/// A connection that was lost since the last command is made again, once.
result<std::string> shell::document_of(const inspect_request& ask) {
  auto timeout = std::chrono::seconds(connection_.timeout_s);
  if (node_) {
    auto got = document_once(ask, timeout);
    if (got.ok() || got.err().code != ec::io)
      return got;
  }
  if (auto attached = attach(); !attached)
    return attached.err();
  return document_once(ask, timeout);
}

result<std::string> shell::output_of(const command& what) {
  auto document = document_of(what.ask);
  if (!document || json_)
    return document.ok() ? result<std::string>(*document + "\n") : document;
  try {
    return rendered(what, nlohmann::json::parse(*document), terminal());
  } catch (const std::out_of_range& e) {
    return {ec::bad_argument, e.what()};
  } catch (const nlohmann::json::exception& e) {
    return {ec::bad_frame, std::string("the node's document is not as expected: ") + e.what()};
  }
}

int shell::watch(const command& what) {
  bool first = true;
  for (;;) {
    auto text = output_of(what);
    auto lines = json_ ? 0 : terminal_lines();
    if (!text)
      return complain(text.err());
    if (lines && first)
      clear_screen();
    if (lines)
      redraw(*text, lines);
    else
      std::cout << (first || json_ ? "" : "\n") << *text << std::flush;
    first = false;
    if (!std::cout)
      return app::exit_good; // whoever read it has gone
    ::poll(nullptr, 0, static_cast<int>(what.every->count()));
    if (app::interrupt_guard::take()) {
      std::cout << (lines ? "\n" : "") << std::flush; // the prompt comes below what was drawn
      return app::exit_interrupted;
    }
  }
}

int shell::run(const command& what) {
  switch (what.what) {
  case command::kind::nothing:
    return app::exit_good;
  case command::kind::help:
    std::cout << help_text() << std::flush;
    return app::exit_good;
  case command::kind::quit:
    ended_ = true;
    return app::exit_good;
  case command::kind::ask:
    break;
  }
  if (what.every)
    return watch(what);
  auto text = output_of(what);
  if (!text)
    return complain(text.err());
  std::cout << *text << std::flush;
  return app::exit_good;
}

int shell::run(const std::string& line) {
  auto parsed = parse_command(line);
  if (parsed)
    return run(*parsed);
  complain(parsed.err());
  return app::exit_usage;
}

/// Quietly nothing where the node does not answer at once: TAB is no place for errors.
nlohmann::json shell::part_of(const char* document, const char* part) {
  if (!node_)
    return {};
  auto got = document_once({document, "", 0, 0}, completion_patience);
  auto parsed = got.ok() ? nlohmann::json::parse(*got, nullptr, false) : nlohmann::json();
  return parsed.is_object() && parsed.contains(part) ? parsed[part] : nlohmann::json();
}

vocabulary shell::known_to_node() {
  vocabulary known;
  try {
    for (const auto& m : part_of("status", "models"))
      known.models.emplace_back(m.at("name").get<std::string>(), m.at("layers").get<uint16_t>());
    for (const auto& s : part_of("sessions", "sessions"))
      known.requests.push_back(s.at("request").get<uint64_t>());
    if (auto cluster = part_of("status", "cluster"); cluster.is_object()) {
      known.nodes.push_back(printable(cluster.at("name").get<std::string>()));
      for (const auto& l : cluster.at("links"))
        known.nodes.push_back(printable(l.at("name").get<std::string>()));
    }
  } catch (const nlohmann::json::exception&) { // what came until then is offered
  }
  return known;
}

completion shell::completed(const std::string& line) {
  return complete(line, needs_node(line) ? known_to_node() : vocabulary{});
}

int shell::run_interactively() {
  app::interrupt_guard guard;
  editor lines([this](const std::string& line) { return completed(line); });
  if (lines.interactive())
    std::cout << "Attached. 'help' lists the commands, TAB completes them." << std::endl;
  int worst = app::exit_good;
  while (auto line = ended_ ? std::nullopt : lines.read())
    worst = std::max(worst, run(*line));
  return lines.interactive() ? app::exit_good : worst;
}

} // namespace coel::inspect
