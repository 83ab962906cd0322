#include "net/app_envelope.hpp"
#include "net/utf8.hpp"

namespace coel::net {

namespace {

constexpr uint32_t sampling_fields = 9;

void pack_sampling(packer& out, const sampling_params& sampling) {
  pack_field(out, "temperature", sampling.temperature);
  pack_field(out, "top_k", sampling.top_k);
  pack_field(out, "top_p", sampling.top_p);
  pack_field(out, "min_p", sampling.min_p);
  pack_field(out, "repeat_penalty", sampling.repeat_penalty);
  pack_field(out, "repeat_last_n", sampling.repeat_last_n);
  pack_field(out, "seed", sampling.seed);
  pack_field(out, "logprobs", sampling.logprobs);
  pack_text(out, "stop");
  out.pack_array(static_cast<uint32_t>(sampling.stop.size()));
  for (const auto& text : sampling.stop)
    pack_text(out, repaired_utf8(text));
}

void pack_messages(packer& out, const std::vector<chat_message>& messages) {
  pack_text(out, "messages");
  out.pack_array(static_cast<uint32_t>(messages.size()));
  for (const auto& message : messages) {
    out.pack_map(2);
    pack_text_field(out, "role", message.role);
    pack_text_field(out, "content", message.content);
  }
}

void pack_request(packer& out, uint64_t id, const generate_request& request) {
  bool chat = !request.messages.empty(), continued = !request.answered.empty();
  pack_envelope(out, id, chat ? "chat" : "generate", 6 + continued + sampling_fields);
  pack_text_field(out, "model", request.model);
  if (chat)
    pack_messages(out, request.messages);
  else if (!request.tokens.empty())
    pack_field(out, "tokens", request.tokens);
  else
    pack_text_field(out, "prompt", request.prompt);
  if (continued)
    pack_field(out, "answered", request.answered);
  pack_field(out, "max_tokens", request.max_tokens);
  pack_field(out, "deadline_ms", request.deadline_ms);
  pack_field(out, "ignore_end", request.ignore_end);
  pack_field(out, "stream", request.stream);
  pack_sampling(out, request.sampling);
}

void pack_request(packer& out, uint64_t id, const score_request& request) {
  pack_envelope(out, id, "score", 3);
  pack_text_field(out, "model", request.model);
  if (request.tokens.empty())
    pack_text_field(out, "text", request.text);
  else
    pack_field(out, "tokens", request.tokens);
  pack_field(out, "deadline_ms", request.deadline_ms);
}

void pack_request(packer& out, uint64_t id, const tokenize_request& request) {
  pack_envelope(out, id, "tokenize", 3);
  pack_text_field(out, "model", request.model);
  pack_text_field(out, "text", request.text);
  pack_field(out, "special", request.special);
}

void pack_request(packer& out, uint64_t id, const detokenize_request& request) {
  pack_envelope(out, id, "detokenize", 2);
  pack_text_field(out, "model", request.model);
  pack_field(out, "tokens", request.tokens);
}

void pack_request(packer& out, uint64_t id, const cancel_request& request) {
  pack_envelope(out, id, "cancel", 1);
  pack_field(out, "target", request.target);
}

void pack_request(packer& out, uint64_t id, const inspect_request& request) {
  pack_envelope(out, id, "inspect", request.node.empty() ? 4 : 5);
  pack_text_field(out, "what", request.what);
  pack_text_field(out, "model", request.model);
  pack_field(out, "target", request.target);
  pack_field(out, "depth", request.depth);
  if (!request.node.empty())
    pack_text_field(out, "node", request.node);
}

void read_sampling(field_reader& fields, sampling_params& out) {
  fields.number("temperature", out.temperature);
  fields.count("top_k", out.top_k);
  fields.number("top_p", out.top_p);
  fields.number("min_p", out.min_p);
  fields.number("repeat_penalty", out.repeat_penalty);
  fields.count("repeat_last_n", out.repeat_last_n);
  fields.count("seed", out.seed);
  fields.count("logprobs", out.logprobs);
  fields.texts("stop", out.stop, max_stop_strings, max_stop_bytes);
}

std::vector<chat_message> read_messages(field_reader& fields) {
  std::vector<chat_message> messages;
  fields.need("messages");
  const auto* items = fields.array("messages", max_chat_messages);
  if (items == nullptr)
    return messages;
  for (const auto* item = items->ptr; item != items->ptr + items->size; ++item) {
    if (item->type != msgpack::type::MAP) {
      fields.fail(ec::bad_frame,
                  "field 'messages' must be an array of maps with 'role' and 'content'");
      return messages;
    }
    field_reader one(*item);
    auto& message = messages.emplace_back();
    one.need("role");
    one.need("content");
    one.text("role", message.role, max_name_bytes);
    one.text("content", message.content, max_request_bytes);
    if (one.problem()) {
      fields.fail(one.problem()->code, "in 'messages': " + one.problem()->message);
      return messages;
    }
  }
  if (messages.empty())
    fields.fail(ec::bad_argument, "field 'messages' must hold at least one message");
  return messages;
}

// Text under the name `text_name`, or tokens: one of the two.
void read_input(field_reader& fields, std::string_view text_name, std::string& text,
                std::vector<int32_t>& tokens) {
  bool has_tokens = fields.has("tokens");
  if (has_tokens == fields.has(text_name))
    fields.fail(ec::bad_argument, "give either '" + std::string(text_name) + "' or 'tokens'");
  fields.text(text_name, text, max_request_bytes);
  fields.tokens("tokens", tokens, max_tokens_listed);
  if (has_tokens && tokens.empty())
    fields.fail(ec::bad_argument, "field 'tokens' must hold at least one token");
}

generate_request read_generate(field_reader& fields, bool chat) {
  generate_request out;
  fields.text("model", out.model, max_name_bytes);
  if (chat)
    out.messages = read_messages(fields);
  else
    read_input(fields, "prompt", out.prompt, out.tokens);
  fields.tokens("answered", out.answered, max_tokens_listed);
  fields.count("max_tokens", out.max_tokens);
  fields.count("deadline_ms", out.deadline_ms);
  fields.boolean("ignore_end", out.ignore_end);
  fields.boolean("stream", out.stream);
  read_sampling(fields, out.sampling);
  return out;
}

score_request read_score(field_reader& fields) {
  score_request out;
  fields.text("model", out.model, max_name_bytes);
  read_input(fields, "text", out.text, out.tokens);
  fields.count("deadline_ms", out.deadline_ms);
  return out;
}

tokenize_request read_tokenize(field_reader& fields) {
  tokenize_request out;
  fields.text("model", out.model, max_name_bytes);
  fields.need("text");
  fields.text("text", out.text, max_request_bytes);
  fields.boolean("special", out.special);
  return out;
}

detokenize_request read_detokenize(field_reader& fields) {
  detokenize_request out;
  fields.text("model", out.model, max_name_bytes);
  fields.need("tokens");
  fields.tokens("tokens", out.tokens, max_tokens_listed);
  return out;
}

cancel_request read_cancel(field_reader& fields) {
  cancel_request out;
  fields.need("target");
  fields.count("target", out.target);
  return out;
}

inspect_request read_inspect(field_reader& fields, bool status) {
  inspect_request out;
  if (!status) {
    fields.need("what");
    fields.text("what", out.what, max_name_bytes);
  }
  fields.text("model", out.model, max_name_bytes);
  fields.count("target", out.target);
  fields.count("depth", out.depth);
  fields.text("node", out.node, max_name_bytes);
  return out;
}

app_request read_request(field_reader& fields, std::string_view op) {
  if (op == "generate" || op == "chat")
    return read_generate(fields, op == "chat");
  if (op == "score")
    return read_score(fields);
  if (op == "tokenize")
    return read_tokenize(fields);
  if (op == "detokenize")
    return read_detokenize(fields);
  if (op == "cancel")
    return read_cancel(fields);
  if (op == "inspect" || op == "status")
    return read_inspect(fields, op == "status");
  fields.fail(ec::bad_frame,
              "field 'op' names no operation of this protocol; see docs/protocol.md");
  return {};
}

} // namespace

std::string encode(uint64_t id, const app_request& request) {
  msgpack::sbuffer bytes;
  packer out(bytes);
  std::visit([&](const auto& body) { pack_request(out, id, body); }, request);
  return {bytes.data(), bytes.size()};
}

decoded<app_request> decode_request(std::string_view frame) {
  return decode_message<app_request>(frame, max_request_bytes, read_request);
}

} // namespace coel::net
