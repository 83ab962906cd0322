#include "model/chat.hpp"

#include "model/chat_template.hpp"
#include "model/quoted.hpp"

#include <algorithm>
#include <utility>

namespace coel::model {

namespace {

bool has_token(const tokenizer_data& d, std::string_view text) {
  return std::find(d.tokens.begin(), d.tokens.end(), text) != d.tokens.end();
}

std::string text_of(const tokenizer_data& d, const std::optional<int32_t>& id) {
  return id && static_cast<size_t>(*id) < d.tokens.size() ? d.tokens[static_cast<size_t>(*id)]
                                                          : std::string{};
}

/// Text of the template is special, what people wrote is not.
struct builder {
  std::vector<text_part> parts;
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

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view what = " \t\r\n\v\f";
  const auto begin = text.find_first_not_of(what);
  return begin == std::string_view::npos
             ? std::string_view{}
             : text.substr(begin, text.find_last_not_of(what) - begin + 1);
}

/// An answer as later prompts show it: without what was thought.
std::string answer_alone(const std::string& content) {
  constexpr std::string_view end = "</think>";
  const auto at = content.rfind(end);
  if (at == std::string::npos)
    return content;
  const auto begin = content.find_first_not_of('\n', at + end.size());
  return begin == std::string::npos ? std::string{} : content.substr(begin);
}

/// How many messages there are up to the last question; all of them if nobody asks.
size_t messages_before_reply(const std::vector<chat_message>& messages) {
  for (size_t i = messages.size(); i > 0; --i)
    if (messages[i - 1].role == "user")
      return i;
  return messages.size();
}

void chatml(builder& b, const tokenizer_data& d, const std::vector<chat_message>& messages) {
  const auto facts = read_chat_template(d.chat_template);
  if (facts.names_bos || (d.chat_template.empty() && d.add_bos))
    b.mark(text_of(d, d.bos));
  if (messages.front().role != "system" && !facts.default_system.empty())
    b.mark("<|im_start|>system\n").said(facts.default_system).mark("<|im_end|>\n");
  const auto past = facts.drops_thoughts ? messages_before_reply(messages) : 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    const auto& m = messages[i];
    const bool answered = i < past && m.role == "assistant";
    b.mark("<|im_start|>" + m.role + "\n").said(answered ? answer_alone(m.content) : m.content);
    b.mark("<|im_end|>\n");
  }
  b.mark(facts.opens_thought ? "<|im_start|>assistant\n<think>\n" : "<|im_start|>assistant\n");
}

/// There is no place for system messages: they stand before the question that follows, or alone.
void mistral(builder& b, const tokenizer_data& d, const std::vector<chat_message>& messages) {
  b.mark(text_of(d, d.bos));
  auto ask = [&](const std::string& text) { b.mark("[INST] ").said(text).mark(" [/INST]"); };
  std::string system;
  for (const auto& m : messages) {
    if (m.role == "system")
      system += m.content + "\n\n";
    else if (m.role == "user")
      ask(std::exchange(system, {}) + m.content);
    else
      b.said(" " + m.content).mark(text_of(d, d.eos));
  }
  if (!system.empty())
    ask(system.substr(0, system.size() - 2));
}

void olmoe(builder& b, const tokenizer_data& d, const std::vector<chat_message>& messages) {
  b.mark(text_of(d, d.bos ? d.bos : d.eos));
  for (const auto& m : messages) {
    b.mark("<|" + m.role + "|>\n").said(m.content);
    if (m.role == "assistant")
      b.mark(text_of(d, d.eos));
    if (m.role != "assistant" || &m != &messages.back())
      b.mark("\n");
  }
  b.mark("<|assistant|>\n");
}

void llama3(builder& b, const tokenizer_data& d, const std::vector<chat_message>& messages) {
  b.mark(text_of(d, d.bos));
  for (const auto& m : messages) {
    b.mark("<|start_header_id|>" + m.role + "<|end_header_id|>\n\n");
    b.said(std::string(trimmed(m.content))).mark("<|eot_id|>");
  }
  b.mark("<|start_header_id|>assistant<|end_header_id|>\n\n");
}

/// Begins as a prompt without messages does.
void plain(builder& b, const tokenizer_data& d, const std::vector<chat_message>& messages) {
  if (d.add_bos)
    b.mark(text_of(d, d.bos));
  std::string text;
  for (const auto& m : messages)
    text += (text.empty() ? "" : "\n\n") + m.content;
  b.said(text);
}

} // namespace

std::string_view to_string(chat_style style) {
  constexpr std::string_view names[] = {"chatml", "mistral", "olmoe", "llama3", "plain", "unknown"};
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
    return chat_style::unknown;
  if (has_token(d, "<|im_start|>") && has_token(d, "<|im_end|>"))
    return chat_style::chatml;
  if (has_token(d, "<|start_header_id|>"))
    return chat_style::llama3;
  return chat_style::plain;
}

result<std::vector<text_part>> chat_prompt(chat_style style, const tokenizer_data& d,
                                           const std::vector<chat_message>& messages) {
  if (messages.empty())
    return {ec::bad_argument, "messages is empty"};
  for (const auto& m : messages)
    if (m.role != "system" && m.role != "user" && m.role != "assistant")
      return {ec::bad_argument,
              "role " + in_quotes(m.role) + " is not one of system, user and assistant"};
  builder b;
  switch (style) {
  case chat_style::chatml:
    chatml(b, d, messages);
    break;
  case chat_style::mistral:
    mistral(b, d, messages);
    break;
  case chat_style::olmoe:
    olmoe(b, d, messages);
    break;
  case chat_style::llama3:
    llama3(b, d, messages);
    break;
  case chat_style::plain:
    plain(b, d, messages);
    break;
  case chat_style::unknown:
    return {ec::unsupported,
            "the model's chat template is none of chatml, mistral, olmoe and llama3: "
            "give a prompt written for this model instead of messages"};
  }
  return std::move(b.parts);
}

} // namespace coel::model
