#include "apps/coel/answer.hpp"

#include "apps/coel/interrupt.hpp"

#include <cstdio>

namespace coel::app {

void add_answer_options(CLI::App& command, generate_request& request) {
  auto& sampling = request.sampling;
  auto option = [&](const char* name, auto& variable, const char* help, const char* environment,
                    const char* group) {
    return command.add_option(name, variable, help)
        ->envname(environment)
        ->capture_default_str()
        ->group(group);
  };
  constexpr const char* answer = "Answer";
  constexpr const char* draw = "Sampling";
  option("--model,-m", request.model, "Model of the node; needed where it has several",
         "COEL_CLIENT_MODEL", answer);
  option("--max-tokens,-n", request.max_tokens, "Length of the answer at most", "COEL_MAX_TOKENS",
         answer);
  option("--deadline-ms", request.deadline_ms,
         "Milliseconds for the whole answer; 0: the node's default", "COEL_DEADLINE_MS", answer);
  command.add_option("--stop", sampling.stop, "The answer ends before this text (repeatable)")
      ->allow_extra_args(false)
      ->group(answer);
  command.add_flag("--ignore-end", request.ignore_end, "Go on after the model's end token")
      ->group(answer);
  option("--temperature,-t", sampling.temperature, "0 takes the most likely token",
         "COEL_TEMPERATURE", draw);
  option("--top-k", sampling.top_k, "Draw among the k most likely; 0: all", "COEL_TOP_K", draw);
  option("--top-p", sampling.top_p, "Draw among the most likely that make up p; 1: all",
         "COEL_TOP_P", draw);
  option("--min-p", sampling.min_p,
         "Leave out what is less likely than p times the most likely; 0: nothing", "COEL_MIN_P",
         draw);
  option("--repeat-penalty", sampling.repeat_penalty, "Of tokens seen lately; 1: none",
         "COEL_REPEAT_PENALTY", draw);
  option("--repeat-last-n", sampling.repeat_last_n, "Tokens that count as lately",
         "COEL_REPEAT_LAST_N", draw);
  option("--seed,-s", sampling.seed, "Same seed, same answer; 0: drawn by the node", "COEL_SEED",
         draw);
  option("--logprobs", sampling.logprobs,
         "Report so many alternatives per token, at most 20 (with --json)", "", draw);
}

result<received_answer> receive_answer(net::app_nodes& nodes, const generate_request& request,
                                       const std::function<void(const token_reply&)>& on_token) {
  nodes.begin(request);
  received_answer out;
  for (;;) {
    if (interrupt_guard::take()) {
      if (out.interrupted)
        return out;
      out.interrupted = true;
      nodes.cancel();
    }
    auto came = nodes.next(std::chrono::milliseconds(200));
    if (!came.ok())
      return came.err();
    if (!*came)
      continue;
    if (auto* token = std::get_if<token_reply>(&**came)) {
      on_token(*token);
      out.text += token->text;
      if (token->id >= 0)
        out.tokens.push_back(std::move(*token));
    } else if (auto* done = std::get_if<done_reply>(&**came)) {
      out.done = std::move(*done);
      return out;
    }
  }
}

std::string summary(const done_reply& done) {
  constexpr double us_per_s = 1e6;
  double first_s = static_cast<double>(done.times.queued_us + done.times.prefill_us) / us_per_s;
  double decode_s = static_cast<double>(done.times.decode_us) / us_per_s;
  double rate = done.answer_tokens > 1 && decode_s > 0 ? (done.answer_tokens - 1) / decode_s : 0;
  char text[160];
  std::snprintf(text, sizeof text, "%u + %u tokens, first after %.2f s, %.1f tokens/s, %s",
                done.prompt_tokens, done.answer_tokens, first_s, rate,
                std::string(to_string(done.reason)).c_str());
  return text;
}

} // namespace coel::app
