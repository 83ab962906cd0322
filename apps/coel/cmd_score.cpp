#include "apps/coel/commands.hpp"
#include "apps/coel/connection.hpp"
#include "apps/coel/input.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdio>
#include <iostream>

namespace coel::app {

namespace {

struct score_options {
  connection_options connection;
  score_request request;
  std::vector<std::string> words;
  bool ids = false;
  bool as_json = false;
};

struct total {
  double logprob = 0;
  double perplexity = 1;
};

total total_of(const score_reply& reply) {
  total out;
  for (float one : reply.logprobs)
    out.logprob += one;
  if (!reply.logprobs.empty())
    out.perplexity = std::exp(-out.logprob / static_cast<double>(reply.logprobs.size()));
  return out;
}

int print(const score_reply& reply, bool as_json) {
  auto sum = total_of(reply);
  if (as_json) {
    nlohmann::json out{{"tokens", reply.tokens},
                       {"logprobs", reply.logprobs},
                       {"logprob", sum.logprob},
                       {"perplexity", sum.perplexity}};
    std::cout << out << '\n';
    return exit_good;
  }
  std::printf("%10s  %10s\n", "token", "logprob");
  for (size_t i = 0; i < reply.tokens.size(); ++i)
    if (i == 0 || i > reply.logprobs.size())
      std::printf("%10d  %10s\n", reply.tokens[i], "-");
    else
      std::printf("%10d  %10.4f\n", reply.tokens[i], static_cast<double>(reply.logprobs[i - 1]));
  std::printf("sum %.4f over %zu tokens, perplexity %.4f\n", sum.logprob, reply.logprobs.size(),
              sum.perplexity);
  return exit_good;
}

int score(score_options& options) {
  auto text = text_or_input(options.words);
  if (options.ids) {
    auto ids = parse_ids(text);
    if (!ids.ok()) {
      print_error(ids.err());
      return exit_usage;
    }
    options.request.tokens = *ids;
  } else {
    options.request.text = std::move(text);
  }
  options.request.deadline_ms = options.connection.timeout_s * 1000;
  return ask_node<score_reply>(options.connection, options.request, [&](const score_reply& reply) {
    return print(reply, options.as_json);
  });
}

} // namespace

void add_score(CLI::App& app, int& exit) {
  auto options = std::make_shared<score_options>();
  auto& command = *app.add_subcommand("score", "How likely the model finds a text, token by token");
  command.add_option("text", options->words, "The text; read from standard input if it is missing");
  command.add_flag("--ids", options->ids, "The text is given as token ids");
  command.add_flag("--json", options->as_json, "Print JSON");
  command
      .add_option("--model,-m", options->request.model,
                  "Model of the node; needed where it has several")
      ->envname("COEL_CLIENT_MODEL");
  add_connection_options(command, options->connection);
  command.callback([options, &exit] { exit = score(*options); });
}

} // namespace coel::app
