#include "apps/inspect/fields.hpp"
#include "apps/inspect/render.hpp"

#include <stdexcept>

namespace coel::inspect {

using nlohmann::json;

namespace {

constexpr size_t label_width = 6; // "layer "
constexpr int red = 196;

/// One model's map, checked: rows of equal length for each node.
struct placement {
  size_t layers = 0, experts = 0;
  std::vector<std::string> names;             ///< of nodes that are up
  std::vector<std::vector<std::string>> held; ///< by node, then layer; '#' held
  bool holds(size_t node, size_t layer, size_t expert) const {
    return held[node][layer][expert] == '#';
  }
  size_t holders(size_t layer, size_t expert) const {
    size_t n = 0;
    for (size_t i = 0; i < held.size(); ++i)
      n += holds(i, layer, expert);
    return n;
  }
};

placement placement_of(const json& p) {
  placement out;
  out.layers = whole(p, "layers");
  out.experts = whole(p, "experts_per_layer");
  for (const auto& n : p.at("nodes")) {
    auto rows = n.at("map").get<std::vector<std::string>>();
    if (rows.size() != out.layers)
      throw std::out_of_range("the map of " + words(n, "name") +
                              " does not have a row for each layer");
    for (const auto& row : rows)
      if (row.size() != out.experts)
        throw std::out_of_range("the map of " + words(n, "name") + " does not tell of each expert");
    if (!n.at("up").get<bool>())
      continue;
    out.names.push_back(words(n, "name"));
    out.held.push_back(std::move(rows));
  }
  if (out.held.empty()) // then nothing bears the numbers out
    out.layers = out.experts = 0;
  return out;
}

std::string label(size_t layer) {
  auto text = number_text(layer);
  return std::string(5 - std::min<size_t>(5, text.size()), ' ') + text + " ";
}

/// Letters of nodes, in the order of the document: this node is A.
char letter(size_t node) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  return node < letters.size() ? letters[node] : '?';
}

// ---- a group of columns for each node

std::string group_cell(const placement& p, size_t node, size_t layer, size_t expert,
                       const look& how) {
  if (!p.holds(node, layer, expert))
    return how.unicode ? "·" : ".";
  if (p.holders(layer, expert) == 1)
    return how.unicode ? "█" : "#";
  return how.unicode ? "▒" : "+";
}

std::string group_map(const placement& p, const look& how) {
  std::string out = "layer";
  for (const auto& name : p.names) {
    auto title = clipped(name, p.experts);
    out += " " + title + std::string(p.experts - columns(title), ' ');
  }
  out.erase(out.find_last_not_of(' ') + 1);
  out += "\n";
  for (size_t l = 0; l < p.layers; ++l) {
    std::string row = label(l).substr(0, label_width - 1);
    for (size_t n = 0; n < p.names.size(); ++n) {
      row += " ";
      for (size_t e = 0; e < p.experts; ++e)
        row += group_cell(p, n, l, e, how);
    }
    out += row + "\n";
  }
  auto mark = [&](const char* block, const char* ascii) {
    return std::string(how.unicode ? block : ascii);
  };
  return out + wrapped({mark("█", "#") + " held there alone", mark("▒", "+") + " elsewhere too",
                        mark("·", ".") + " not held"},
                       "  ", 0, how.width);
}

// ---- one letter for each expert

std::string letter_cell(const placement& p, size_t layer, size_t expert, const look& how) {
  auto n = p.holders(layer, expert);
  if (n == 0)
    return painted("!", red, how);
  if (n > 1)
    return n > 9 ? "*" : number_text(n);
  for (size_t i = 0; i < p.held.size(); ++i)
    if (p.holds(i, layer, expert))
      return std::string(1, letter(i));
  return "?";
}

/// Experts `first` and up, as many as fit.
std::string letter_block(const placement& p, size_t first, size_t last, const look& how) {
  std::string ruler = "layer ";
  for (size_t e = first; e < last; e += 8) {
    auto text = number_text(e);
    ruler += text + std::string(8 - std::min<size_t>(8, text.size()), ' ');
  }
  ruler.erase(ruler.find_last_not_of(' ') + 1);
  std::string out = clipped(ruler, how.width) + "\n";
  for (size_t l = 0; l < p.layers; ++l) {
    auto row = label(l);
    for (size_t e = first; e < last; ++e)
      row += letter_cell(p, l, e, how);
    out += clipped(row, how.width) + "\n";
  }
  return out;
}

std::string letter_map(const placement& p, const look& how) {
  size_t room = std::max<size_t>(8, (how.width - std::min(how.width, label_width)) / 8 * 8);
  std::string out;
  for (size_t first = 0; first < p.experts; first += room)
    out += letter_block(p, first, std::min(first + room, p.experts), how);
  std::vector<std::string> legend;
  for (size_t i = 0; i < p.names.size(); ++i)
    legend.push_back(std::string(1, letter(i)) + " " + p.names[i]);
  legend.push_back("2-9 that many nodes");
  legend.push_back("* more");
  legend.push_back("! nobody");
  return out + wrapped(legend, "  ", 0, how.width);
}

// ---- the whole

/// How many experts have how many copies.
std::string copies(const json& p, const look& how) {
  std::vector<std::string> text{words(p, "model") + ":",
                                counted(whole(p, "layers"), "layer") + " of",
                                counted(whole(p, "experts_per_layer"), "expert") + ";", "held by"};
  const auto& histogram = p.at("replicas");
  for (size_t n = 0; n < histogram.size(); ++n)
    if (auto experts = static_cast<uint64_t>(std::clamp(histogram[n].get<double>(), 0.0, 9e15)))
      text.push_back((n ? counted(n, "node") : "nobody") + ": " + number_text(experts) + ",");
  text.back().back() = ';';
  text.push_back("epoch " + count(p, "epoch"));
  return wrapped(text, " ", 2, how.width);
}

std::string one_map(const json& document, const look& how) {
  auto p = placement_of(document);
  auto groups = p.names.size() * (p.experts + 1) + label_width - 1;
  return copies(document, how) + (groups <= how.width ? group_map(p, how) : letter_map(p, how));
}

} // namespace

std::string render_placement(const json& d, const std::string& model, const look& how) {
  std::string out, known;
  for (const auto& p : d.at("placement")) {
    known += (known.empty() ? "" : ", ") + words(p, "model");
    if (model.empty() || p.at("model") == model)
      out.append(out.empty() ? "" : "\n").append(one_map(p, how));
  }
  if (out.empty() && !model.empty())
    throw std::out_of_range("no model '" + model + "' is placed here; there is: " + known);
  return out.empty() ? clipped("no model is placed yet", how.width) + "\n" : out;
}

} // namespace coel::inspect
