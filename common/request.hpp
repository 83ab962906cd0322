// What applications ask of a node and what they get. net/app_protocol carries these as msgpack;
// actors/ work on them directly.
#pragma once

#include "common/result.hpp"
#include "common/sampling.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace coel {

/// Continues a prompt, given as text, as token ids, or as a chat: exactly one of the three.
struct generate_request {
  std::string model; ///< empty: the node's only model
  std::string prompt;
  std::vector<int32_t> tokens;
  std::vector<chat_message> messages;
  std::vector<int32_t> answered; ///< the answer's first tokens, given by another node
  uint32_t max_tokens = 256;     ///< beyond `answered`
  uint32_t deadline_ms = 0;      ///< 0: the node's default
  bool ignore_end = false;       ///< go on after an end token (benchmarks)
  bool stream = true;            ///< false: one done_reply with the whole answer
  sampling_params sampling;
};

/// Log probabilities of given tokens: of tokens[i] after tokens[0..i), for i >= 1.
struct score_request {
  std::string model;
  std::string text; ///< or
  std::vector<int32_t> tokens;
  uint32_t deadline_ms = 0;
};

struct tokenize_request {
  std::string model;
  std::string text;
  bool special = false; ///< recognise special tokens in the text
};

struct detokenize_request {
  std::string model;
  std::vector<int32_t> tokens;
};

struct cancel_request {
  uint64_t target = 0; ///< the app's own id of the request to stop
};

/// Questions of `coel status` and coel-inspect: what = "status", "actors", "experts", "sessions",
/// "memory", "trace", "cluster", "metrics"; the answer is a JSON document. what = "drain" and
/// "expel" do something to a node of the cluster.
struct inspect_request {
  std::string what = "status";
  std::string model;
  uint64_t target = 0;   ///< request id for "trace"
  uint32_t depth = 0;    ///< 0 brief, 1 normal, 2 everything
  std::string node = {}; ///< drain, expel: its name or key; empty: the node asked
};

using app_request = std::variant<generate_request, score_request, tokenize_request,
                                 detokenize_request, cancel_request, inspect_request>;

struct token_logprob {
  int32_t id = 0;
  float logprob = 0;
};

/// One streamed piece of an answer. `text` is whole UTF-8 and may be empty while a character or a
/// possible stop string is incomplete. Text that is still held back when the answer ends comes
/// without a token: `id` is -1.
struct token_reply {
  int32_t id = 0;
  std::string text;
  float logprob = 0;              ///< under the model's own distribution
  std::vector<token_logprob> top; ///< as many as sampling.logprobs asked for
};

enum class finish_reason : uint8_t { end, stop, length, cancelled, deadline };

std::string_view to_string(finish_reason reason);
std::optional<finish_reason> finish_reason_from_name(std::string_view name);

struct timings {
  uint64_t queued_us = 0;
  uint64_t prefill_us = 0; ///< admission to first token
  uint64_t decode_us = 0;  ///< first token to last
};

/// The streamed pieces of an answer put together.
struct whole_answer {
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<float> logprobs; ///< [tokens]
};

struct done_reply {
  finish_reason reason = finish_reason::end;
  uint64_t request = 0; ///< the node's own id, for trace
  uint32_t prompt_tokens = 0;
  uint32_t answer_tokens = 0; ///< those `answered` before included
  uint64_t seed = 0;
  timings times;
  std::optional<whole_answer> answer; ///< set by the app server where nothing was streamed
};

struct score_reply {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs; ///< [tokens - 1]
};

struct tokens_reply {
  std::vector<int32_t> tokens;
};

struct text_reply {
  std::string text;
};

struct document_reply {
  std::string json;
};

struct cancelled_reply {};

/// The last reply of a request is any but token_reply.
using app_reply = std::variant<token_reply, done_reply, score_reply, tokens_reply, text_reply,
                               document_reply, cancelled_reply, error>;

} // namespace coel
