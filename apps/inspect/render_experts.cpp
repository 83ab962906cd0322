#include "apps/inspect/fields.hpp"
#include "apps/inspect/heat_map.hpp"
#include "apps/inspect/render.hpp"

#include <map>
#include <stdexcept>

namespace coel::inspect {

using nlohmann::json;

namespace {

constexpr size_t named_experts = 5;

struct expert {
  uint64_t layer = 0;
  uint64_t id = 0;
  double popularity = 0;
};

struct place {
  uint64_t experts = 0;
  uint64_t bytes = 0;
};

/// What the document says of all experts together.
struct overview {
  std::vector<heat_row> rows;
  std::vector<expert> routed; ///< the most popular first
  uint64_t never = 0;
  uint64_t shared = 0; ///< slices of a shared expert, of all layers
  double sum = 0;      ///< of popularity
  std::map<std::string, place> places;
};

bool is_absent(const json& e) {
  auto where = words(e, "residency");
  return where == "absent" || where == "ssd";
}

void take(overview& all, heat_row& row, const json& e) {
  auto& where = all.places[words(e, "residency")];
  ++where.experts;
  where.bytes += whole(e, "bytes");
  if (e.at("shared").get<bool>()) {
    ++all.shared;
    return;
  }
  auto popularity = real(e, "popularity");
  row.experts.push_back({popularity, is_absent(e)});
  all.routed.push_back({row.layer, whole(e, "id"), popularity});
  all.never += popularity <= 0;
  all.sum += popularity;
}

overview overview_of(const json& d) {
  overview all;
  for (const auto& layer : d.at("layers")) {
    heat_row row{whole(layer, "layer"), {}};
    for (const auto& e : layer.at("experts"))
      take(all, row, e);
    all.rows.push_back(std::move(row));
  }
  std::stable_sort(all.routed.begin(), all.routed.end(),
                   [](const auto& a, const auto& b) { return a.popularity > b.popularity; });
  return all;
}

std::string most_used(const overview& all, const look& how) {
  std::vector<std::string> text{"most used:"};
  for (size_t i = 0; i < std::min(named_experts, all.routed.size()); ++i) {
    const auto& e = all.routed[i];
    text.push_back(number_text(e.layer) + ":" + number_text(e.id) + " by " +
                   fixed(e.popularity * 100, 0) + " %" +
                   (i + 1 < std::min(named_experts, all.routed.size()) ? "," : ";"));
  }
  text.push_back("never used: " + number_text(all.never) + " of " + number_text(all.routed.size()));
  return wrapped(text, " ", 2, how.width);
}

std::string where_they_are(const overview& all, const look& how) {
  std::vector<std::string> text;
  for (const auto& [name, where] : all.places)
    text.push_back((name == "absent" ? "" : "in ") + name + ": " +
                   counted(where.experts, "expert") + ", " + bytes_text(where.bytes) + ";");
  if (all.shared)
    text.push_back(counted(all.shared, "slice") + " of shared experts among them;");
  if (text.empty())
    return {};
  text.back().pop_back();
  return wrapped(text, " ", 2, how.width);
}

const json& layer_of(const json& d, size_t layer) {
  for (const auto& l : d.at("layers"))
    if (whole(l, "layer") == layer)
      return l;
  throw std::out_of_range("layer " + number_text(layer) + " does not exist: " + words(d, "model") +
                          " has " + counted(d.at("layers").size(), "layer") + ", from 0");
}

} // namespace

std::string render_experts(const json& d, const look& how) {
  auto all = overview_of(d);
  auto tokens = whole(d, "tokens");
  auto even = all.routed.empty() ? 0 : all.sum / static_cast<double>(all.routed.size());
  auto out = wrapped({words(d, "model") + ":", "how often each expert is used,",
                      tokens ? "over " + counted(tokens, "token") : "nothing routed yet"},
                     " ", 2, how.width);
  if (all.sum <= 0 && !all.routed.empty()) // what an even spread would be
    even = real(d, "top_k") * static_cast<double>(all.rows.size()) /
           static_cast<double>(all.routed.size());
  out += heat_map(all.rows, even, how);
  if (all.sum > 0)
    out += most_used(all, how);
  return out + where_they_are(all, how);
}

std::string render_layer(const json& d, size_t layer, const look& how) {
  auto experts = layer_of(d, layer).at("experts").get<std::vector<json>>();
  std::stable_sort(experts.begin(), experts.end(), [](const json& a, const json& b) {
    return std::pair(a.at("shared").get<bool>(), -real(a, "popularity")) <
           std::pair(b.at("shared").get<bool>(), -real(b, "popularity"));
  });
  table rows({{"EXPERT"},
              {"USED BY"},
              {"", align::left},
              {"ROWS"},
              {"WHERE", align::left},
              {"TYPE", align::left},
              {"SIZE"}});
  for (const auto& e : experts) {
    bool shared = e.at("shared").get<bool>();
    auto used = real(e, "popularity");
    rows.add({count(e, "id"), shared ? "shared" : fixed(used * 100, 1) + " %", bar(used, 10, how),
              count(e, "rows"), words(e, "residency"), words(e, "type"), size(e, "bytes")});
  }
  return clipped(words(d, "model") + ", layer " + number_text(layer), how.width) + "\n" +
         rows.text(how);
}

} // namespace coel::inspect
