#include "net/app_envelope.hpp"
#include "net/utf8.hpp"

namespace coel::net {

namespace {

void pack_top(packer& out, const std::vector<token_logprob>& top) {
  pack_text(out, "top");
  out.pack_array(static_cast<uint32_t>(top.size()));
  for (const auto& one : top) {
    out.pack_array(2);
    out.pack(one.id);
    pack_number(out, one.logprob);
  }
}

void pack_reply(packer& out, uint64_t id, const token_reply& reply) {
  pack_envelope(out, id, "token", reply.top.empty() ? 3 : 4);
  pack_field(out, "token", reply.id);
  pack_text_field(out, "text", reply.text);
  pack_field(out, "logprob", reply.logprob);
  if (!reply.top.empty())
    pack_top(out, reply.top);
}

void pack_reply(packer& out, uint64_t id, const done_reply& reply) {
  pack_envelope(out, id, "done", reply.answer ? 11 : 8);
  pack_text_field(out, "reason", to_string(reply.reason));
  pack_field(out, "request", reply.request);
  pack_field(out, "prompt_tokens", reply.prompt_tokens);
  pack_field(out, "answer_tokens", reply.answer_tokens);
  pack_field(out, "seed", reply.seed);
  pack_field(out, "queued_us", reply.times.queued_us);
  pack_field(out, "prefill_us", reply.times.prefill_us);
  pack_field(out, "decode_us", reply.times.decode_us);
  if (!reply.answer)
    return;
  pack_text_field(out, "text", reply.answer->text);
  pack_field(out, "tokens", reply.answer->tokens);
  pack_field(out, "logprobs", reply.answer->logprobs);
}

void pack_reply(packer& out, uint64_t id, const score_reply& reply) {
  pack_envelope(out, id, "score", 2);
  pack_field(out, "tokens", reply.tokens);
  pack_field(out, "logprobs", reply.logprobs);
}

void pack_reply(packer& out, uint64_t id, const tokens_reply& reply) {
  pack_envelope(out, id, "tokens", 1);
  pack_field(out, "tokens", reply.tokens);
}

void pack_reply(packer& out, uint64_t id, const text_reply& reply) {
  pack_envelope(out, id, "text", 1);
  pack_text_field(out, "text", reply.text);
}

void pack_reply(packer& out, uint64_t id, const document_reply& reply) {
  pack_envelope(out, id, "document", 1);
  pack_text_field(out, "json", reply.json);
}

void pack_reply(packer& out, uint64_t id, const cancelled_reply&) {
  pack_envelope(out, id, "cancelled", 0);
}

void pack_reply(packer& out, uint64_t id, const error& reply) {
  pack_envelope(out, id, "error", 2);
  pack_text_field(out, "code", to_string(reply.code));
  pack_text_field(out, "message", std::string_view(reply.message).substr(0, max_error_bytes));
}

std::vector<token_logprob> read_top(field_reader& fields) {
  std::vector<token_logprob> top;
  const auto* items = fields.array("top", max_top_logprobs);
  if (items == nullptr)
    return top;
  for (const auto* item = items->ptr; item != items->ptr + items->size; ++item) {
    bool pair = item->type == msgpack::type::ARRAY && item->via.array.size == 2;
    auto id = pair ? as_token(item->via.array.ptr[0]) : std::nullopt;
    if (!id || !is_number(item->via.array.ptr[1])) {
      fields.fail(ec::bad_frame, "field 'top' must be an array of pairs of token id and logprob");
      return top;
    }
    top.push_back({*id, as_float(item->via.array.ptr[1])});
  }
  return top;
}

bool is_no_token(const msgpack::object& value) {
  return value.type == msgpack::type::NEGATIVE_INTEGER && value.via.i64 == -1;
}

token_reply read_token(field_reader& fields) {
  token_reply out;
  if (const auto* token = fields.need("token")) {
    if (auto id = as_token(*token))
      out.id = *id;
    else if (is_no_token(*token))
      out.id = -1;
    else
      fields.fail(ec::bad_frame, "field 'token' must be a token id, or -1");
  }
  fields.need("text");
  fields.text("text", out.text, max_reply_bytes);
  fields.number("logprob", out.logprob);
  out.top = read_top(fields);
  return out;
}

done_reply read_done(field_reader& fields) {
  done_reply out;
  std::string reason;
  fields.need("reason");
  fields.text("reason", reason, max_name_bytes);
  if (auto known = finish_reason_from_name(reason))
    out.reason = *known;
  else
    fields.fail(ec::bad_frame, "field 'reason' is not a known reason");
  fields.count("request", out.request);
  fields.count("prompt_tokens", out.prompt_tokens);
  fields.count("answer_tokens", out.answer_tokens);
  fields.count("seed", out.seed);
  fields.count("queued_us", out.times.queued_us);
  fields.count("prefill_us", out.times.prefill_us);
  fields.count("decode_us", out.times.decode_us);
  if (!fields.has("text"))
    return out;
  auto& answer = out.answer.emplace();
  fields.text("text", answer.text, max_reply_bytes);
  fields.tokens("tokens", answer.tokens, max_tokens_listed);
  fields.numbers("logprobs", answer.logprobs, max_tokens_listed);
  return out;
}

score_reply read_score(field_reader& fields) {
  score_reply out;
  fields.need("tokens");
  fields.need("logprobs");
  fields.tokens("tokens", out.tokens, max_tokens_listed);
  fields.numbers("logprobs", out.logprobs, max_tokens_listed);
  return out;
}

tokens_reply read_tokens(field_reader& fields) {
  tokens_reply out;
  fields.need("tokens");
  fields.tokens("tokens", out.tokens, max_tokens_listed);
  return out;
}

std::string read_text(field_reader& fields, std::string_view name) {
  std::string out;
  fields.need(name);
  fields.text(name, out, max_reply_bytes);
  return out;
}

error read_error(field_reader& fields) {
  auto code = read_text(fields, "code");
  return {ec_from_name(code), read_text(fields, "message")};
}

app_reply read_reply(field_reader& fields, std::string_view op) {
  if (op == "token")
    return read_token(fields);
  if (op == "done")
    return read_done(fields);
  if (op == "score")
    return read_score(fields);
  if (op == "tokens")
    return read_tokens(fields);
  if (op == "text")
    return text_reply{read_text(fields, "text")};
  if (op == "document")
    return document_reply{read_text(fields, "json")};
  if (op == "cancelled")
    return cancelled_reply{};
  if (op == "error")
    return read_error(fields);
  fields.fail(ec::bad_frame, "field 'op' names no reply of this protocol; see docs/protocol.md");
  return error{};
}

} // namespace

std::string encode(uint64_t id, const app_reply& reply) {
  msgpack::sbuffer bytes;
  packer out(bytes);
  std::visit([&](const auto& body) { pack_reply(out, id, body); }, reply);
  return {bytes.data(), bytes.size()};
}

decoded<app_reply> decode_reply(std::string_view frame) {
  return decode_message<app_reply>(frame, max_reply_bytes, read_reply);
}

} // namespace coel::net
