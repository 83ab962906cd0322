#include "net/link_refusals.hpp"

#include <cstdio>

namespace coel::net {

namespace {

std::string_view hint(refusal kind) {
  switch (kind) {
  case refusal::no_key:
    return "no CoEL node, or one with another cluster file: give it this cluster's";
  case refusal::not_member:
    return "its key is not in members of the cluster file";
  case refusal::expelled:
    return "its key is in expelled of the cluster file, or was expelled since the start";
  case refusal::too_often:
    return "it tries to connect too often: see what runs at that address";
  case refusal::crowded:
    return "it opens connections without proving a key: see what runs at that address";
  }
  return "";
}

} // namespace

std::string_view to_string(refusal kind) {
  switch (kind) {
  case refusal::no_key:
    return "no-key";
  case refusal::not_member:
    return "not-member";
  case refusal::expelled:
    return "expelled";
  case refusal::too_often:
    return "too-often";
  case refusal::crowded:
    return "crowded";
  }
  return "?";
}

std::optional<std::string> link_refusals::note(refusal kind, std::string_view from,
                                               time_point now) {
  auto i = static_cast<size_t>(kind);
  auto times = said_[i].due(++counts_[i], now);
  if (!times)
    return std::nullopt;
  std::string line = "event=refused-peer why=";
  line += to_string(kind);
  line += " times=" + std::to_string(*times);
  if (!from.empty())
    line.append(" from=").append(from);
  return line.append(" hint=\"").append(hint(kind)).append("\"");
}

void say_on_stderr(const std::string& line) {
  std::fprintf(stderr, "%s\n", line.c_str());
}

} // namespace coel::net
