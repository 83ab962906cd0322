// A chat template, a vocabulary and messages from the bytes. What people wrote must stand in the
// prompt and must never become a token of the template.
// Layout: template, bos, eos, more control tokens (separated by byte 1), then for each message one
// that begins with its role: s, u or anything; all separated by zero bytes.
#include "model/chat.hpp"
#include "tests/fuzz/byte_reader.hpp"
#include "tests/fuzz/text_checks.hpp"

using namespace coel;
using model::token_type;

namespace {

model::tokenizer_data vocabulary(const std::vector<std::string_view>& fields) {
  model::tokenizer_data d;
  d.pre = "qwen2";
  d.unk = 0;
  auto add = [&](std::string_view text, token_type type) {
    d.tokens.emplace_back(text);
    d.types.push_back(type);
    return static_cast<int32_t>(d.tokens.size()) - 1;
  };
  for (char c = '!'; c <= '~'; ++c)
    add({&c, 1}, token_type::normal);
  d.chat_template = fields[0];
  if (!fields[1].empty())
    d.bos = add(fields[1], token_type::control);
  if (!fields[2].empty())
    d.eos = add(fields[2], token_type::control);
  for (auto text : fuzz::split(fields[3], '\1', 1))
    if (!text.empty())
      add(text, token_type::control);
  return d;
}

std::vector<chat_message> conversation(const std::vector<std::string_view>& fields) {
  std::vector<chat_message> messages;
  for (size_t i = 4; i < fields.size() && messages.size() < 20; ++i) {
    const char first = fields[i].empty() ? 'u' : fields[i][0];
    const char* role = first == 's' ? "system" : first == 'u' ? "user" : "assistant";
    messages.push_back({role, std::string(fields[i].substr(fields[i].empty() ? 0 : 1))});
  }
  return messages;
}

std::vector<std::string> marks(const std::vector<model::text_part>& parts) {
  std::vector<std::string> found;
  for (const auto& p : parts)
    if (p.special)
      found.push_back(p.text);
  return found;
}

size_t control_tokens(const model::tokenizer& t, std::span<const model::text_part> parts) {
  size_t count = 0;
  const auto ids = t.encode(parts);
  fuzz::require_in_range(t, ids);
  for (auto id : ids)
    count += t.data().types[static_cast<size_t>(id)] == token_type::control;
  return count;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto fields = fuzz::split({reinterpret_cast<const char*>(data), size}, '\0', 4);
  const auto d = vocabulary(fields);
  const auto messages = conversation(fields);
  const auto style = model::detect_chat_style(d);
  auto prompt = model::chat_prompt(style, d, messages);
  const bool known = style != model::chat_style::unknown;
  fuzz::require(prompt.ok() == (known && !messages.empty()));
  if (!prompt)
    return 0;
  auto harmless = messages;
  for (auto& m : harmless)
    m.content = "0";
  auto other = model::chat_prompt(style, d, harmless);
  fuzz::require(other.ok() && marks(*prompt) == marks(*other));
  auto made = model::make_tokenizer(d);
  fuzz::require(made.ok());
  fuzz::require(control_tokens(**made, *prompt) == control_tokens(**made, *other));
  if (style == model::chat_style::plain || style == model::chat_style::olmoe) {
    std::string said;
    for (const auto& p : *prompt)
      if (!p.special)
        said += p.text;
    for (const auto& m : messages)
      fuzz::require(said.find(m.content) != std::string::npos);
  }
  return 0;
}
