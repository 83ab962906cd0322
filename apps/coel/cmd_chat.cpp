#include "apps/coel/answer.hpp"
#include "apps/coel/commands.hpp"
#include "apps/coel/connection.hpp"
#include "apps/coel/interrupt.hpp"
#include "apps/coel/line_editor.hpp"

#include <iostream>

namespace coel::app {

namespace {

struct chat_options {
  connection_options connection;
  generate_request request;
  std::string system;
  bool quiet = false;
};

constexpr const char* help =
    "/reset        forget what was said\n"
    "/system TEXT  tell the model how to behave, and forget what was said\n"
    "/quit         end (also Ctrl-D); Ctrl-C cancels an answer\n";

// What is said, and to whom.
class conversation {
 public:
  conversation(net::app_nodes nodes, const chat_options& options, bool show_stats)
      : nodes_(std::move(nodes)), request_(options.request), show_stats_(show_stats) {
    begin(options.system);
  }

  void begin(const std::string& system) {
    system_ = system;
    request_.messages.clear();
    if (!system_.empty())
      request_.messages.push_back({"system", system_});
  }
  void reset() { begin(std::string(system_)); }

  /// Prints the answer as it comes. Errors: of the connection; what the node refuses is printed.
  result<bool> say(std::string text);

 private:
  net::app_nodes nodes_;
  generate_request request_;
  std::string system_;
  bool show_stats_;
};

result<bool> conversation::say(std::string text) {
  request_.messages.push_back({"user", std::move(text)});
  auto answer = receive_answer(
      nodes_, request_, [](const token_reply& token) { std::cout << token.text << std::flush; });
  std::cout << std::endl;
  if (!answer.ok()) {
    request_.messages.pop_back(); // an unanswered question would confuse the next
    if (answer.err().code == ec::io)
      return answer.err();
    print_error(answer.err());
    return false;
  }
  request_.messages.push_back({"assistant", answer->text});
  if (show_stats_)
    std::cout << "[" << summary(answer->done) << "]\n";
  return true;
}

enum class next_step { ask, again, quit };

next_step obey(const std::string& line, conversation& with) {
  if (line.empty())
    return next_step::again;
  if (line.front() != '/')
    return next_step::ask;
  auto blank = std::min(line.find(' '), line.size());
  auto command = line.substr(0, blank);
  if (command == "/quit" || command == "/exit")
    return next_step::quit;
  if (command == "/reset")
    with.reset();
  else if (command == "/system")
    with.begin(line.substr(std::min(blank + 1, line.size())));
  else
    std::cout << help;
  return next_step::again;
}

int chat(const chat_options& options) {
  auto nodes = connect_nodes(options.connection);
  if (!nodes.ok()) {
    print_error(nodes.err());
    return exit_unreachable;
  }
  interrupt_guard guard;
  line_editor editor("chat_history");
  conversation with(std::move(*nodes), options, editor.interactive() && !options.quiet);
  if (editor.interactive() && !options.quiet)
    std::cout << "/help shows what else you can say; Ctrl-D ends.\n";
  int exit = exit_good;
  while (auto line = editor.read("> ")) {
    auto step = obey(*line, with);
    if (step == next_step::quit)
      return exit;
    if (step == next_step::again)
      continue;
    auto answered = with.say(std::move(*line));
    if (!answered.ok()) {
      print_error(answered.err());
      return exit_failed;
    }
    // People see the error and go on; a script learns at the end that something failed.
    if (!*answered && !editor.interactive())
      exit = exit_failed;
  }
  if (editor.interactive())
    std::cout << std::endl;
  return exit;
}

} // namespace

void add_chat(CLI::App& app, int& exit) {
  auto options = std::make_shared<chat_options>();
  auto& command =
      *app.add_subcommand("chat", "Talk with the model; lines from a pipe are asked one by one");
  command.add_option("--system", options->system, "Tells the model how to behave")
      ->envname("COEL_SYSTEM");
  command.add_flag("--quiet,-q", options->quiet, "No statistics after answers");
  add_answer_options(command, options->request);
  add_connection_options(command, options->connection);
  command.callback([options, &exit] { exit = chat(*options); });
}

} // namespace coel::app
