#include "apps/inspect/completion.hpp"

#include "apps/inspect/command.hpp"

#include <algorithm>

namespace coel::inspect {

namespace {

using words = std::vector<std::string>;

/// The words before the one at the cursor, without a `watch` in front; and that one.
struct position {
  words before;
  std::string typed;
  bool watched = false;
};

position position_in(std::string_view line) {
  position p;
  p.before = words_of(line);
  if (!line.empty() && line.back() != ' ' && line.back() != '\t') {
    p.typed = p.before.back();
    p.before.pop_back();
  }
  if (!p.before.empty() && p.before.front() == "watch") {
    p.watched = true;
    p.before.erase(p.before.begin());
    if (!p.before.empty() && is_number(p.before.front()))
      p.before.erase(p.before.begin());
  }
  return p;
}

void add_layers(words& out, size_t layers) {
  for (size_t l = 0; l < layers; ++l)
    out.push_back(std::to_string(l));
}

words experts_arguments(const words& before, const vocabulary& node) {
  words out;
  if (before.size() == 1) {
    for (const auto& [name, layers] : node.models)
      out.push_back(name);
    if (!node.models.empty()) // without a name the first model is meant
      add_layers(out, node.models.front().second);
  }
  if (before.size() == 2)
    for (const auto& [name, layers] : node.models)
      if (name == before[1])
        add_layers(out, layers);
  return out;
}

words possible(const position& p, const vocabulary& node) {
  if (p.before.empty())
    return p.watched ? watchable_names() : command_names();
  const auto& name = p.before.front();
  if (name == "actors" && p.before.size() == 1)
    return {"layers", "all"};
  if (name == "experts")
    return experts_arguments(p.before, node);
  words out;
  if (p.before.size() != 1)
    return out;
  if (name == "trace")
    for (auto id : node.requests)
      out.push_back(std::to_string(id));
  if (name == "placement")
    for (const auto& [model, layers] : node.models)
      out.push_back(model);
  if (name == "drain" || name == "expel")
    out = node.nodes;
  return out;
}

} // namespace

completion complete(std::string_view line, const vocabulary& node) {
  auto p = position_in(line);
  completion out{p.typed, {}};
  for (auto& word : possible(p, node))
    if (word.starts_with(p.typed))
      out.candidates.push_back(std::move(word));
  return out;
}

bool needs_node(std::string_view line) {
  auto p = position_in(line);
  const words asking{"experts", "trace", "placement", "drain", "expel"};
  return !p.before.empty() &&
         std::find(asking.begin(), asking.end(), p.before.front()) != asking.end();
}

std::string continuation(const completion& found) {
  if (found.candidates.empty())
    return {};
  std::string_view shared = found.candidates.front();
  for (std::string_view other : found.candidates) {
    auto differs = std::mismatch(shared.begin(), shared.end(), other.begin(), other.end());
    shared = shared.substr(0, static_cast<size_t>(differs.first - shared.begin()));
  }
  std::string more(shared.substr(found.typed.size()));
  return found.candidates.size() == 1 ? more + " " : more;
}

} // namespace coel::inspect
