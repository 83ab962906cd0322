#include "apps/inspect/command.hpp"
#include "apps/inspect/fields.hpp"
#include "apps/inspect/render.hpp"

#include <array>
#include <map>
#include <stdexcept>

namespace coel::inspect {

using nlohmann::json;

namespace {

constexpr size_t shown_steps = 8;

/// Columns of a step, in the order in which a token passes them.
struct column_kind {
  const char* name;
  const char* title;
};
constexpr std::array<column_kind, 7> kinds{{{"scheduler", "SCHED"},
                                            {"attention", "ATTENTION"},
                                            {"gate", "GATE"},
                                            {"experts", "EXPERTS"},
                                            {"wait", "WAIT"},
                                            {"head", "HEAD"},
                                            {"session", "SESSION"}}};
constexpr size_t wait_kind = 4;
using spent = std::array<uint64_t, kinds.size()>; ///< us

/// Neighbours run beside this node's hops and are no part of the sum; the wait for them is.
bool is_beside(const json& hop) {
  return hop.contains("node");
}

size_t kind_of(const json& hop) {
  auto actor = hop.at("actor").get<std::string>();
  auto name = actor == "device" || actor == "link" ? hop.at("work").get<std::string>() : actor;
  auto found =
      std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return name == k.name; });
  return found == kinds.end() ? 0 : static_cast<size_t>(found - kinds.begin());
}

spent spent_in(const json& step) {
  spent sum{};
  for (const auto& hop : step.at("hops"))
    if (!is_beside(hop))
      sum[kind_of(hop)] += whole(hop, "took_us");
  return sum;
}

bool asks_neighbours(const json& step) {
  const auto& hops = step.at("hops");
  return std::any_of(hops.begin(), hops.end(), is_beside);
}

bool any_neighbours(const json& tokens) {
  return std::any_of(tokens.begin(), tokens.end(), asks_neighbours);
}

/// Tables of steps and of layers. A node that asked no neighbour has no column of waits.
class spent_table {
 public:
  spent_table(std::vector<column> first, bool waits)
      : waits_(waits), rows_(titles(std::move(first), waits)) {}

  void add(std::vector<std::string> cells, const spent& us) {
    for (size_t k = 0; k < us.size(); ++k)
      if (k != wait_kind || waits_)
        cells.push_back(number_text(us[k]));
    rows_.add(std::move(cells));
  }
  std::string text(const look& how) const { return rows_.text(how); }

 private:
  static std::vector<column> titles(std::vector<column> all, bool waits) {
    for (size_t k = 0; k < kinds.size(); ++k)
      if (k != wait_kind || waits)
        all.push_back({kinds[k].title});
    return all;
  }

  bool waits_;
  table rows_;
};

/// The last steps one by one, then the mean of all that are kept.
std::string steps(const json& tokens, const look& how) {
  spent_table rows({{"STEP"}, {"TOTAL us"}}, any_neighbours(tokens));
  spent sum{};
  uint64_t total = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    auto us = spent_in(tokens[i]);
    for (size_t k = 0; k < us.size(); ++k)
      sum[k] += us[k];
    total += whole(tokens[i], "total_us");
    if (i + shown_steps >= tokens.size())
      rows.add({count(tokens[i], "index"), count(tokens[i], "total_us")}, us);
  }
  for (auto& us : sum)
    us /= tokens.size();
  rows.add({"mean", number_text(total / tokens.size())}, sum);
  return rows.text(how);
}

/// One step hop by hop: a line for each layer, and one for what has none.
std::string hops(const json& step, const look& how) {
  struct line {
    uint64_t at = 0, took = 0;
    spent us{};
  };
  std::map<uint64_t, line> lines;
  constexpr uint64_t after = UINT64_MAX;
  for (const auto& hop : step.at("hops")) {
    if (is_beside(hop))
      continue;
    auto layer = hop.contains("layer") ? whole(hop, "layer") : after;
    auto [at, fresh] = lines.try_emplace(layer);
    if (fresh)
      at->second.at = whole(hop, "at_us");
    at->second.took += whole(hop, "took_us");
    at->second.us[kind_of(hop)] += whole(hop, "took_us");
  }
  spent_table rows({{"LAYER"}, {"AT us"}, {"TOOK us"}}, asks_neighbours(step));
  for (const auto& [layer, l] : lines)
    rows.add(
        {layer == after ? "output" : number_text(layer), number_text(l.at), number_text(l.took)},
        l.us);
  return rows.text(how);
}

/// What a neighbour did in a step, all layers together.
struct helped {
  uint64_t hops = 0, took = 0, there = 0, longest = 0;
};

std::string neighbours(const json& step, const look& how) {
  std::map<std::string, helped> by_node;
  for (const auto& hop : step.at("hops")) {
    if (!is_beside(hop))
      continue;
    auto& one = by_node[words(hop, "node")];
    ++one.hops;
    one.took += whole(hop, "took_us");
    one.there += whole(hop, "there_us");
    one.longest = std::max(one.longest, whole(hop, "took_us"));
  }
  if (by_node.empty())
    return {};
  table rows({{"NEIGHBOUR", align::left},
              {"LAYERS"},
              {"TOOK us"},
              {"THERE us"},
              {"ON THE WAY us"},
              {"LONGEST us"}});
  for (const auto& [name, n] : by_node)
    rows.add({name, number_text(n.hops), number_text(n.took), number_text(n.there),
              number_text(n.took - std::min(n.took, n.there)), number_text(n.longest)});
  return "\n" + rows.text(how);
}

/// Each answer of a neighbour, for a step that was asked for.
std::string neighbour_hops(const json& step, const look& how) {
  table rows({{"LAYER"},
              {"NEIGHBOUR", align::left},
              {"AT us"},
              {"TOOK us"},
              {"THERE us"},
              {"ON THE WAY us"}});
  bool any = false;
  for (const auto& hop : step.at("hops")) {
    if (!is_beside(hop))
      continue;
    any = true;
    auto took = whole(hop, "took_us"), there = whole(hop, "there_us");
    rows.add({count(hop, "layer"), words(hop, "node"), count(hop, "at_us"), number_text(took),
              number_text(there), number_text(took - std::min(took, there))});
  }
  return any ? "\n" + rows.text(how) : "";
}

const json& chosen(const json& tokens, std::optional<uint64_t> step) {
  if (!step)
    return tokens.back();
  for (const auto& t : tokens)
    if (whole(t, "index") == *step)
      return t;
  throw std::out_of_range("step " + number_text(*step) + " is not kept: those from " +
                          count(tokens.front(), "index") + " to " + count(tokens.back(), "index") +
                          " are");
}

/// What the numbers are, and where the token goes next.
std::string notes(const json& d, const look& how) {
  std::string text = "Attention, experts and head are the device's time; the scheduler's is all "
                     "between the others.";
  if (any_neighbours(d.at("tokens")))
    text += " Neighbours work beside the experts here; WAIT is for the last of them.";
  if (auto messages = whole(d.at("socket"), "messages"); messages > 0)
    text += " The socket sends the token beside the next step: " +
            fixed(real(d.at("socket"), "busy_us") / static_cast<double>(messages), 1) +
            " us a message, the mean since the node started.";
  return wrapped(words_of(text), " ", 0, how.width);
}

} // namespace

std::string render_trace(const json& d, std::optional<uint64_t> step, const look& how) {
  const auto& tokens = d.at("tokens");
  std::string name = "request "; // appended to: g++ 12 warns about literal + string here
  name.append(count(d, "request")).append(" of ").append(words(d, "model"));
  if (tokens.empty())
    return clipped(name + ": no step is over yet", how.width) + "\n";
  const auto& one = chosen(tokens, step);
  auto out = wrapped(
      {name + ":", "us of its last " + counted(tokens.size(), "step") + ",", "by where they went"},
      " ", 2, how.width);
  out += steps(tokens, how) + "\n";
  name = "step ";
  name.append(count(one, "index")).append(", layer by layer");
  return out + clipped(name, how.width) + "\n" + hops(one, how) + neighbours(one, how) +
         (step ? neighbour_hops(one, how) : "") + notes(d, how);
}

} // namespace coel::inspect
