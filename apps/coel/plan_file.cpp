#include "apps/coel/plan_file.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>

namespace coel::app {

namespace {

constexpr double us_per_mbit = 0.125; // bytes per us of 1 Mbit/s

/// Reads tables; keeps the first problem, with its line.
class plan_reader {
 public:
  plan_reader(const toml::table& top, std::string file) : top_(top), file_(std::move(file)) {}

  result<plan_file> read() {
    refuse_unknown(top_, {"model", "request", "node", "links", "link"}, "a plan");
    read_model();
    read_request();
    read_nodes();
    if (!problem_)
      read_links();
    if (problem_)
      return *problem_;
    return std::move(out_);
  }

 private:
  void fail(const toml::node& at, const std::string& why) {
    if (!problem_)
      problem_ =
          error{ec::bad_file, file_ + ":" + std::to_string(at.source().begin.line) + ": " + why};
  }

  void refuse_unknown(const toml::table& t, std::initializer_list<std::string_view> known,
                      const std::string& what) {
    for (const auto& [name, value] : t)
      if (std::find(known.begin(), known.end(), name.str()) == known.end())
        fail(value, std::string(name.str()) + " is not a key of " + what +
                        "; docs/placement.md lists them");
  }

  double number(const toml::table& t, std::string_view name, double least, double most,
                std::optional<double> fallback) {
    const auto* node = t.get(name);
    if (!node) {
      if (!fallback)
        fail(t, std::string(name) + " is missing");
      return fallback.value_or(least);
    }
    auto value = node->value<double>();
    if (!value || !(*value >= least && *value <= most)) {
      char range[96];
      std::snprintf(range, sizeof range, " must be a number from %g to %g", least, most);
      fail(*node, std::string(name) + range);
      return least;
    }
    return *value;
  }

  std::string text(const toml::table& t, std::string_view name) {
    const auto* node = t.get(name);
    if (node && !node->is_string())
      fail(*node, std::string(name) + " must be a text in quotes");
    return node ? node->value_or(std::string()) : std::string();
  }

  bool flag(const toml::table& t, std::string_view name) {
    const auto* node = t.get(name);
    if (node && !node->is_boolean())
      fail(*node, std::string(name) + " must be true or false");
    return node && node->value_or(false);
  }

  const toml::table* table(std::string_view name) {
    const auto* node = top_.get(name);
    if (node && !node->is_table())
      fail(*node, "write [" + std::string(name) + "], once");
    return node ? node->as_table() : nullptr;
  }

  template <class F>
  void each(std::string_view name, F&& f) {
    const auto* node = top_.get(name);
    if (!node)
      return;
    if (!node->is_array_of_tables()) {
      fail(*node, "write [[" + std::string(name) + "]], with two brackets");
      return;
    }
    for (const auto& one : *node->as_array())
      f(*one.as_table());
  }

  void read_model() {
    const auto* t = table("model");
    if (!t)
      return;
    refuse_unknown(*t, {"name", "type", "context"}, "[model]");
    out_.model = text(*t, "name");
    out_.type = text(*t, "type");
    out_.context = static_cast<uint32_t>(number(*t, "context", 1, 10'000'000, 4096));
  }

  void read_request() {
    const auto* t = table("request");
    if (!t)
      return;
    refuse_unknown(*t, {"prompt", "answer", "sessions"}, "[request]");
    out_.prompt_tokens = static_cast<uint32_t>(number(*t, "prompt", 0, 1e6, 128));
    out_.answer_tokens = static_cast<uint32_t>(number(*t, "answer", 1, 1e6, 128));
    out_.sessions = number(*t, "sessions", 1, 1e5, 1);
  }

  void read_nodes() {
    each("node", [&](const toml::table& t) {
      refuse_unknown(t,
                     {"name", "memory_gb", "read_gb_s", "compute_gmac_s", "utilisation",
                      "store_gb_s", "step_us", "handling_us", "tokens_per_s", "helper"},
                     "[[node]]");
      policy::node_facts n;
      n.name = text(t, "name");
      if (n.name.empty())
        fail(t, "name of a node is missing");
      if (find(n.name) < out_.nodes.size())
        fail(t, "two nodes are named '" + n.name + "'");
      n.memory_bytes = static_cast<uint64_t>(1e9 * number(t, "memory_gb", 0, 1e6, {}));
      n.read_bytes_us = 1000 * number(t, "read_gb_s", 0.01, 1e5, {});
      n.macs_us = 1000 * number(t, "compute_gmac_s", 0.01, 1e7, {});
      n.utilisation = number(t, "utilisation", 0, 0.95, 0.0);
      n.store_bytes_us = 1000 * number(t, "store_gb_s", 0, 1000, 0.0);
      n.step_us = number(t, "step_us", 0, 1e6, 20.0);
      n.handling_us = number(t, "handling_us", 0, 1e6, 60.0);
      out_.tokens_per_s.push_back(
          number(t, "tokens_per_s", 0, 1e9, out_.nodes.empty() ? 1.0 : 0.0));
      out_.helper.push_back(flag(t, "helper"));
      out_.nodes.push_back(std::move(n));
    });
    if (out_.nodes.empty() || out_.nodes.size() > policy::max_plan_nodes)
      fail(top_, "a plan needs 1 to 64 [[node]] tables");
  }

  size_t find(const std::string& name) const {
    auto at = std::find_if(out_.nodes.begin(), out_.nodes.end(),
                           [&](const auto& n) { return n.name == name; });
    return static_cast<size_t>(at - out_.nodes.begin());
  }

  policy::link_facts link(const toml::table& t, const policy::link_facts& otherwise) {
    return {number(t, "rtt_us", 0, 1e8, otherwise.rtt_us),
            us_per_mbit * number(t, "mbit_s", 0.001, 1e7, otherwise.bytes_us / us_per_mbit)};
  }

  void read_links() {
    policy::link_facts common;
    if (const auto* t = table("links")) {
      refuse_unknown(*t, {"rtt_us", "mbit_s"}, "[links]");
      common = link(*t, common);
    }
    out_.network = policy::network_facts(static_cast<uint32_t>(out_.nodes.size()), common);
    each("link", [&](const toml::table& t) {
      refuse_unknown(t, {"between", "rtt_us", "mbit_s"}, "[[link]]");
      const auto* pair = t["between"].as_array();
      size_t ends[2] = {out_.nodes.size(), out_.nodes.size()};
      for (size_t i = 0; pair && pair->size() == 2 && i < 2; ++i)
        ends[i] = find((*pair)[i].value_or(std::string()));
      if (ends[0] >= out_.nodes.size() || ends[1] >= out_.nodes.size() || ends[0] == ends[1])
        fail(t, "between must name two different nodes: between = [\"a\", \"b\"]");
      else
        out_.network.set(static_cast<uint32_t>(ends[0]), static_cast<uint32_t>(ends[1]),
                         link(t, common));
    });
  }

  const toml::table& top_;
  std::string file_;
  plan_file out_;
  std::optional<error> problem_;
};

} // namespace

result<plan_file> read_plan_file(const std::filesystem::path& path) {
  std::error_code missing;
  if (!std::filesystem::is_regular_file(path, missing))
    return {ec::io, path.string() + ": cannot read; give a TOML file with [[node]] tables"};
  try {
    auto top = toml::parse_file(path.string());
    return plan_reader(top, path.string()).read();
  } catch (const toml::parse_error& e) {
    return {ec::bad_file, path.string() + ":" + std::to_string(e.source().begin.line) + ": " +
                              std::string(e.description())};
  }
}

} // namespace coel::app
