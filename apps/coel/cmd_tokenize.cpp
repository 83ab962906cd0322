#include "apps/coel/commands.hpp"
#include "apps/coel/connection.hpp"
#include "apps/coel/input.hpp"

#include <nlohmann/json.hpp>

#include <iostream>

namespace coel::app {

namespace {

struct tokenize_options {
  connection_options connection;
  std::string model;
  std::vector<std::string> words;
  bool special = false;
  bool as_json = false;
};

int tokenize(const tokenize_options& options) {
  tokenize_request request{options.model, text_or_input(options.words), options.special};
  return ask_node<tokens_reply>(options.connection, request, [&](const tokens_reply& reply) {
    if (options.as_json) {
      std::cout << nlohmann::json(reply.tokens) << '\n';
      return exit_good;
    }
    for (size_t i = 0; i < reply.tokens.size(); ++i)
      std::cout << (i == 0 ? "" : " ") << reply.tokens[i];
    std::cout << '\n';
    return exit_good;
  });
}

int detokenize(const tokenize_options& options) {
  auto ids = parse_ids(text_or_input(options.words));
  if (!ids.ok()) {
    print_error(ids.err());
    return exit_usage;
  }
  detokenize_request request{options.model, *ids};
  return ask_node<text_reply>(options.connection, request, [&](const text_reply& reply) {
    std::cout << (options.as_json ? nlohmann::json(reply.text).dump() : reply.text) << '\n';
    return exit_good;
  });
}

CLI::App& add_common(CLI::App& app, const char* name, const char* help, tokenize_options& options) {
  auto& command = *app.add_subcommand(name, help);
  command.add_option("--model,-m", options.model, "Model of the node; needed where it has several")
      ->envname("COEL_CLIENT_MODEL");
  command.add_flag("--json", options.as_json, "Print JSON");
  add_connection_options(command, options.connection);
  return command;
}

} // namespace

void add_tokenize(CLI::App& app, int& exit) {
  auto options = std::make_shared<tokenize_options>();
  auto& command = add_common(app, "tokenize", "Text to token ids", *options);
  command.add_option("text", options->words, "The text; read from standard input if it is missing");
  command.add_flag("--special", options->special, "Recognise special tokens in the text");
  command.callback([options, &exit] { exit = tokenize(*options); });
}

void add_detokenize(CLI::App& app, int& exit) {
  auto options = std::make_shared<tokenize_options>();
  auto& command = add_common(app, "detokenize", "Token ids to text", *options);
  command.add_option("ids", options->words,
                     "Token ids; read from standard input if they are missing");
  command.callback([options, &exit] { exit = detokenize(*options); });
}

} // namespace coel::app
