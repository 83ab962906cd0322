#include "model/chat.hpp"

#include <algorithm>

namespace coel::model {

namespace {

bool has_token(const tokenizer_data& d, std::string_view text) {
  return std::find(d.tokens.begin(), d.tokens.end(), text) != d.tokens.end();
}

std::string text_of(const tokenizer_data& d, const std::optional<int32_t>& id) {
  return id && static_cast<size_t>(*id) < d.tokens.size() ? d.tokens[static_cast<size_t>(*id)] : std::string{};
}

/// Text of the template is special, what people wrote is not.
struct builder {
  std::vector<chat_part> parts;
  builder& mark(std::string text) {
    if (!text.empty())
      parts.push_back({std::move(text), true});
    return *this;
  }
  builder& said(const std::string& text) {
    if (!text.empty())
      parts.push_back({text, false});
    return *this;
  }
};

void chatml(builder& b, const tokenizer_data& d, const std::vector<chat_message>& messages) {
  // Qwen's own templates put this line where no system message is given, and say so in their text.
  constexpr const char* usual = "You are a helpful assistant.";
  if (messages.front().role != "system" && d.chat_template.find(usual) != std::string::npos)
    b.mark("<|im_start|>system\n").said(usual).mark("<|im_end|>\n");
  for (const auto& m : messages)
    b.mark("<|im_start|>" + m.role + "\n").said(m.content).mark("<|im_end|>\n");
  b.mark("<|im_start|>assistant\n");
}

void mistral(builder& b, const tokenizer_data& d, const std::vector<chat_message>& messages) {
  b.mark(text_of(d, d.bos));
  std::string system;
  for (const auto& m : messages) {
    if (m.role == "system")
      system += m.content + "\n\n";
    else if (m.role == "user")
      b.mark("[INST] ").said(std::exchange(system, {}) + m.content).mark(" [/INST]");
    else
      b.said(" " + m.content).mark(text_of(d, d.eos));
  }
}

void olmoe(builder& b, const tokenizer_data& d, const std::vector<chat_message>& messages) {
  b.mark(text_of(d, d.bos ? d.bos : d.eos));
  for (const auto& m : messages) {
    b.mark("<|" + m.role + "|>\n").said(m.content);
    b.mark(m.role == "assistant" ? text_of(d, d.eos) + "\n" : "\n");
  }
  b.mark("<|assistant|>\n");
}

void llama3(builder& b, const tokenizer_data& d, const std::vector<chat_message>& messages) {
  b.mark(text_of(d, d.bos));
  for (const auto& m : messages)
    b.mark("<|start_header_id|>" + m.role + "<|end_header_id|>\n\n").said(m.content).mark("<|eot_id|>");
  b.mark("<|start_header_id|>assistant<|end_header_id|>\n\n");
}

void plain(builder& b, const std::vector<chat_message>& messages) {
  std::string text;
  for (const auto& m : messages)
    text += (text.empty() ? "" : "\n\n") + m.content;
  b.said(text);
}

} // namespace

std::string_view to_string(chat_style style) {
  constexpr std::string_view names[] = {"chatml", "mistral", "olmoe", "llama3", "plain"};
  return names[static_cast<size_t>(style)];
}

chat_style detect_chat_style(const tokenizer_data& d) {
  auto mentions = [&](const char* mark) { return d.chat_template.find(mark) != std::string::npos; };
  if (mentions("<|im_start|>"))
    return chat_style::chatml;
  if (mentions("[INST]"))
    return chat_style::mistral;
  if (mentions("<|start_header_id|>"))
    return chat_style::llama3;
  if (mentions("<|assistant|>"))
    return chat_style::olmoe;
  if (!d.chat_template.empty())
    return chat_style::plain;
  if (has_token(d, "<|im_start|>") && has_token(d, "<|im_end|>"))
    return chat_style::chatml;
  if (has_token(d, "<|start_header_id|>"))
    return chat_style::llama3;
  return chat_style::plain;
}

result<std::vector<chat_part>> chat_prompt(chat_style style, const tokenizer_data& d,
                                           const std::vector<chat_message>& messages) {
  if (messages.empty())
    return {ec::bad_argument, "messages is empty"};
  for (const auto& m : messages)
    if (m.role != "system" && m.role != "user" && m.role != "assistant")
      return {ec::bad_argument, "role '" + m.role + "' is not one of system, user and assistant"};
  builder b;
  switch (style) {
    case chat_style::chatml: chatml(b, d, messages); break;
    case chat_style::mistral: mistral(b, d, messages); break;
    case chat_style::olmoe: olmoe(b, d, messages); break;
    case chat_style::llama3: llama3(b, d, messages); break;
    case chat_style::plain: plain(b, messages); break;
  }
  return std::move(b.parts);
}

} // namespace coel::model
