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
constexpr std::array<const char*, 6> kinds{"scheduler", "attention", "gate",
                                           "experts",   "head",      "session"};
using spent = std::array<uint64_t, kinds.size()>; ///< us

size_t kind_of(const json& hop) {
  auto actor = hop.at("actor").get<std::string>();
  auto name = actor == "device" ? hop.at("work").get<std::string>() : actor;
  auto found = std::find(kinds.begin(), kinds.end(), name);
  return found == kinds.end() ? 0 : static_cast<size_t>(found - kinds.begin());
}

spent spent_in(const json& step) {
  spent sum{};
  for (const auto& hop : step.at("hops"))
    sum[kind_of(hop)] += whole(hop, "took_us");
  return sum;
}

std::vector<std::string> cells_of(std::string name, uint64_t total, const spent& us) {
  std::vector<std::string> cells{std::move(name), number_text(total)};
  for (auto t : us)
    cells.push_back(number_text(t));
  return cells;
}

table steps_table(const char* first) {
  return table({{first},
                {"TOTAL us"},
                {"SCHEDULER"},
                {"ATTENTION"},
                {"GATE"},
                {"EXPERTS"},
                {"HEAD"},
                {"SESSION"}});
}

/// The last steps one by one, then the mean of all that are kept.
std::string steps(const json& tokens, const look& how) {
  auto rows = steps_table("STEP");
  spent sum{};
  uint64_t total = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    auto us = spent_in(tokens[i]);
    for (size_t k = 0; k < us.size(); ++k)
      sum[k] += us[k];
    total += whole(tokens[i], "total_us");
    if (i + shown_steps >= tokens.size())
      rows.add(cells_of(count(tokens[i], "index"), whole(tokens[i], "total_us"), us));
  }
  for (auto& us : sum)
    us /= tokens.size();
  rows.add(cells_of("mean", total / tokens.size(), sum));
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
    auto layer = hop.contains("layer") ? whole(hop, "layer") : after;
    auto [at, fresh] = lines.try_emplace(layer);
    if (fresh)
      at->second.at = whole(hop, "at_us");
    at->second.took += whole(hop, "took_us");
    at->second.us[kind_of(hop)] += whole(hop, "took_us");
  }
  table rows({{"LAYER"},
              {"AT us"},
              {"TOOK us"},
              {"SCHEDULER"},
              {"ATTENTION"},
              {"GATE"},
              {"EXPERTS"},
              {"HEAD"},
              {"SESSION"}});
  for (const auto& [layer, l] : lines) {
    auto cells = cells_of(number_text(l.at), l.took, l.us);
    cells.insert(cells.begin(), layer == after ? "output" : number_text(layer));
    rows.add(std::move(cells));
  }
  return rows.text(how);
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
  return out + clipped(name, how.width) + "\n" + hops(one, how) + notes(d, how);
}

} // namespace coel::inspect
