#include "apps/coel/answer.hpp"
#include "apps/coel/commands.hpp"
#include "apps/coel/connection.hpp"
#include "apps/coel/input.hpp"
#include "apps/coel/interrupt.hpp"

#include <nlohmann/json.hpp>

#include <iostream>

namespace coel::app {

namespace {

using json = nlohmann::json;

struct generate_options {
  connection_options connection;
  generate_request request;
  std::vector<std::string> words;
  bool ids = false;
  bool as_json = false;
  bool stats = false;
};

json to_json(const received_answer& answer) {
  json out{{"text", answer.text},
           {"reason", to_string(answer.done.reason)},
           {"request", answer.done.request},
           {"prompt_tokens", answer.done.prompt_tokens},
           {"answer_tokens", answer.done.answer_tokens},
           {"seed", answer.done.seed},
           {"queued_us", answer.done.times.queued_us},
           {"prefill_us", answer.done.times.prefill_us},
           {"decode_us", answer.done.times.decode_us}};
  auto& tokens = out["tokens"] = json::array();
  for (const auto& token : answer.tokens) {
    json one{{"id", token.id}, {"text", token.text}, {"logprob", token.logprob}};
    for (const auto& other : token.top)
      one["top"].push_back({{"id", other.id}, {"logprob", other.logprob}});
    tokens.push_back(std::move(one));
  }
  return out;
}

int generate(generate_options& options) {
  auto prompt = text_or_input(options.words);
  if (options.ids) {
    auto ids = parse_ids(prompt);
    if (!ids.ok()) {
      print_error(ids.err());
      return exit_usage;
    }
    options.request.tokens = *ids;
  } else {
    options.request.prompt = std::move(prompt);
  }
  auto nodes = connect_nodes(options.connection);
  if (!nodes.ok()) {
    print_error(nodes.err());
    return exit_unreachable;
  }
  interrupt_guard guard;
  auto answer = receive_answer(*nodes, options.request, [&](const token_reply& token) {
    if (options.as_json)
      return;
    if (!options.ids)
      std::cout << token.text << std::flush;
    else if (token.id >= 0)
      std::cout << token.id << ' ' << std::flush;
  });
  if (!options.as_json)
    std::cout << std::endl;
  if (!answer.ok()) {
    print_error(answer.err());
    return exit_failed;
  }
  if (options.as_json)
    std::cout << to_json(*answer).dump(2, ' ', false, json::error_handler_t::replace) << '\n';
  if (options.stats)
    std::cerr << summary(answer->done) << '\n';
  return answer->interrupted ? exit_interrupted : exit_good;
}

} // namespace

void add_generate(CLI::App& app, int& exit) {
  auto options = std::make_shared<generate_options>();
  auto& command = *app.add_subcommand("generate", "Continue a prompt");
  command.add_option("prompt", options->words,
                     "The prompt; read from standard input if it is missing");
  command.add_flag("--ids", options->ids, "The prompt and the answer are token ids");
  command.add_flag("--json", options->as_json, "Print one JSON document at the end");
  command.add_flag("--stats", options->stats, "Print counts and times on standard error");
  add_answer_options(command, options->request);
  add_connection_options(command, options->connection);
  command.callback([options, &exit] { exit = generate(*options); });
}

} // namespace coel::app
