#include "model/chat_template.hpp"

namespace coel::model {

namespace {

/// Inside Jinja's literals a line end is either itself or the two characters "\n".
std::string with_line_ends(std::string_view jinja) {
  std::string text;
  for (size_t i = 0; i < jinja.size(); ++i) {
    const bool escaped = jinja.substr(i).starts_with("\\n");
    text.push_back(escaped ? '\n' : jinja[i]);
    i += escaped;
  }
  return text;
}

/// The first system message that stands in the template as it is: what is put together from
/// expressions has quotes or braces in between.
std::string literal_system(std::string_view text) {
  constexpr std::string_view head = "<|im_start|>system\n", tail = "<|im_end|>";
  for (size_t at = 0; (at = text.find(head, at)) != std::string_view::npos;) {
    at += head.size();
    const auto end = text.find(tail, at);
    if (end == std::string_view::npos)
      break;
    if (auto said = text.substr(at, end - at);
        said.find_first_of("'\"{}") == std::string_view::npos)
      return std::string(said);
  }
  return {};
}

bool opens_thought(std::string_view text) {
  const auto prompt = text.rfind("add_generation_prompt");
  if (prompt == std::string_view::npos)
    return false;
  constexpr std::string_view head = "<|im_start|>assistant\n<think>\n";
  const auto at = text.find(head, prompt);
  if (at == std::string_view::npos || at + head.size() >= text.size())
    return false;
  const auto next = text[at + head.size()]; // the literal ends: the thought is not closed in it
  return next == '\'' || next == '"';
}

} // namespace

chat_template_facts read_chat_template(std::string_view jinja) {
  const auto text = with_line_ends(jinja);
  auto mentions = [&](const char* part) { return text.find(part) != std::string::npos; };
  chat_template_facts facts;
  facts.default_system = literal_system(text);
  facts.names_bos = mentions("bos_token");
  facts.drops_thoughts = mentions("split('</think>')") || mentions("split(\"</think>\")");
  facts.opens_thought = opens_thought(text);
  return facts;
}

} // namespace coel::model
