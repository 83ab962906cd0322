// Options of an answer, and how it is received: shared by generate and chat.
#pragma once

#include "net/app_nodes.hpp"

#include <CLI/CLI.hpp>

#include <functional>
#include <string>
#include <vector>

namespace coel::app {

/// --model, --max-tokens, --deadline, --ignore-end and everything of sampling_params.
void add_answer_options(CLI::App& command, generate_request& request);

struct received_answer {
  std::string text;
  std::vector<token_reply> tokens; ///< what was held back to the end is in `text` only
  done_reply done;
  bool interrupted = false; ///< Ctrl-C; then done.reason is usually cancelled
};

/// Sends the request and calls `on_token` as the answer arrives, from whichever node. Ctrl-C (with
/// an interrupt_guard alive) cancels the request at the node and waits for its end; a second one
/// stops waiting.
result<received_answer> receive_answer(net::app_nodes& nodes, const generate_request& request,
                                       const std::function<void(const token_reply&)>& on_token);

/// "12 + 34 tokens, first after 0.20 s, 56.7 tokens/s, end"
std::string summary(const done_reply& done);

} // namespace coel::app
