#include "model/quoted.hpp"

#include "model/utf8.hpp"

namespace coel::model {

std::string printable(std::string_view text, size_t most) {
  std::string shown;
  for (size_t at = 0; at < text.size();) {
    const auto length = utf8_length(text, at);
    const auto code = length ? utf8_code_point(text, at) : 0;
    const bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    if (shown.size() + (control ? 1 : length) > most)
      return shown + "...";
    shown += control ? "?" : text.substr(at, length);
    at += length ? length : 1;
  }
  return shown;
}

std::string in_quotes(std::string_view text) {
  auto shown = printable(text);
  shown.insert(shown.begin(), '\'');
  shown.push_back('\'');
  return shown;
}

} // namespace coel::model
