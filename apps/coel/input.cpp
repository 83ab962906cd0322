#include "apps/coel/input.hpp"

#include <charconv>
#include <iostream>
#include <iterator>

namespace coel::app {

std::string text_or_input(const std::vector<std::string>& words) {
  if (words.empty())
    return {std::istreambuf_iterator<char>(std::cin), {}};
  std::string out = words.front();
  for (size_t i = 1; i < words.size(); ++i)
    out += ' ' + words[i];
  return out;
}

result<std::vector<int32_t>> parse_ids(const std::string& text) {
  constexpr std::string_view between = " \t\r\n,[]";
  std::vector<int32_t> ids;
  for (size_t at = text.find_first_not_of(between); at != std::string::npos;) {
    auto end = std::min(text.find_first_of(between, at), text.size());
    int32_t id = 0;
    auto read = std::from_chars(text.data() + at, text.data() + end, id);
    if (read.ec != std::errc() || read.ptr != text.data() + end || id < 0)
      return {ec::bad_argument, text.substr(at, end - at) + ": is not a token id"};
    ids.push_back(id);
    at = text.find_first_not_of(between, end);
  }
  if (ids.empty())
    return {ec::bad_argument, "no token ids were given"};
  return ids;
}

} // namespace coel::app
