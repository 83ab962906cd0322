// Documents as a node makes them, and what the tests of the inspector's text have in common.
#pragma once

#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace coel::test {

using nlohmann::json;

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    out.push_back(line);
  return out;
}

/// Without the colours.
inline std::string plain(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i)
    if (text[i] == '\x1b')
      i = text.find('m', i);
    else
      out += text[i];
  return out;
}

/// Characters of a line, of which each takes one column in these tests.
inline size_t width_of(const std::string& line) {
  size_t n = 0;
  for (unsigned char c : plain(line))
    n += (c & 0xc0) != 0x80;
  return n;
}

inline size_t widest_line(const std::string& text) {
  size_t most = 0;
  for (const auto& line : lines_of(text))
    most = std::max(most, width_of(line));
  return most;
}

struct experts_shape {
  size_t layers = 0, experts = 0, shared = 0, top_k = 4;
  uint64_t tokens = 1000;
  std::function<double(size_t layer, size_t expert)> popularity = [](size_t, size_t) { return 0; };
  std::function<bool(size_t layer, size_t expert)> absent = [](size_t, size_t) { return false; };
};

inline json experts_document(const experts_shape& s) {
  json layers = json::array();
  for (size_t l = 0; l < s.layers; ++l) {
    json experts = json::array();
    for (size_t e = 0; e < s.experts + s.shared; ++e) {
      bool shared = e >= s.experts, away = !shared && s.absent(l, e);
      experts.push_back({{"id", e},
                         {"shared", shared},
                         {"rows", e},
                         {"popularity", shared ? 1.0 : s.popularity(l, e)},
                         {"residency", away ? "absent" : "ram"},
                         {"type", "q4_0"},
                         {"bytes", away ? 0 : 1024}});
    }
    layers.push_back({{"layer", l}, {"experts", experts}});
  }
  return {{"model", "demo"}, {"tokens", s.tokens}, {"top_k", s.top_k}, {"layers", layers}};
}

inline json status_document() {
  return json::parse(
      R"({"node":{"version":"0.1.0","uptime_s":3723,"device":"scalar","threads":2,"draining":false},)"
      R"("models":[{"name":"demo","family":"qwen2moe","layers":4,"experts":8,"top_k":2,"context":512,"bytes":1048576,)"
      R"("kv":{"pages":64,"pages_used":3,"page_tokens":16,"bytes":65536},"sessions":1,"queued":0}],)"
      R"("memory":[],"totals":{"requests":1,"tokens_in":50,"tokens_out":70,"errors":2}})");
}

inline json actor_entry(const std::string& name, uint64_t messages, uint64_t busy_us) {
  return {{"name", name}, {"model", "demo"},      {"count", 3},
          {"mailbox", 7}, {"messages", messages}, {"busy_us", busy_us}};
}

inline json actors_document() {
  json devices = {{{"name", "cpu/scalar"},
                   {"threads", 2},
                   {"queued", 1},
                   {"lists", 4},
                   {"busy_us", 10000},
                   {"resident_bytes", 2048}}};
  return {{"actors", {actor_entry("scheduler", 10, 2500), actor_entry("gates", 0, 0)}},
          {"devices", devices}};
}

inline json session_entry(uint64_t request, const std::string& state, double speed) {
  return {{"request", request},  {"model", "demo"},       {"state", state}, {"prompt_tokens", 12},
          {"answer_tokens", 34}, {"tokens_per_s", speed}, {"kv_pages", 2},  {"age_ms", 1500}};
}

inline json memory_document(uint64_t budget_bytes) {
  json tier = {{"name", "ram"},         {"budget_bytes", budget_bytes},
               {"used_bytes", 3 << 20}, {"weights_bytes", 1 << 20},
               {"kv_bytes", 1 << 20},   {"buffer_bytes", 1 << 20}};
  json model = {{"name", "demo"},
                {"weights_bytes", 1 << 20},
                {"kv_bytes", 1 << 20},
                {"kv_used_bytes", 1 << 19}};
  return {{"tiers", {tier}}, {"models", {model}}};
}

inline json hop(const char* actor, const char* work, int layer, int at_us, int took_us) {
  json made = {{"actor", actor}, {"work", work}, {"at_us", at_us}, {"took_us", took_us}};
  if (layer >= 0)
    made["layer"] = layer;
  return made;
}

/// Steps `first` to `last` of a model with one layer, 100 us each, of which the session has 30.
inline json trace_document(uint64_t first, uint64_t last) {
  json tokens = json::array();
  for (auto i = first; i <= last; ++i)
    tokens.push_back({{"index", i},
                      {"total_us", 100},
                      {"hops",
                       {hop("scheduler", "plan", 0, 0, 5), hop("device", "attention", 0, 5, 20),
                        hop("gate", "dispatch", 0, 25, 10), hop("experts", "run", 0, 35, 25),
                        hop("device", "head", -1, 60, 10), hop("session", "draw", -1, 70, 30)}}});
  return {{"request", 9},
          {"model", "demo"},
          {"tokens", tokens},
          {"socket", {{"messages", 4}, {"busy_us", 50}}}};
}

/// A trace with one neighbour in its layer: 60 us of which 40 there, half of them beside the
/// experts.
inline json neighbour_trace_document() {
  json there = hop("link", "sum", 0, 30, 60);
  there["node"] = "n2";
  there["there_us"] = 40;
  json hops = {hop("device", "attention", 0, 0, 20), hop("gate", "dispatch", 0, 20, 10),
               hop("experts", "run", 0, 30, 25),     there,
               hop("link", "wait", 0, 55, 35),       hop("device", "head", -1, 90, 10)};
  return {{"request", 9},
          {"model", "demo"},
          {"tokens", {{{"index", 4}, {"total_us", 100}, {"hops", hops}}}},
          {"socket", {{"messages", 4}, {"busy_us", 50}}}};
}

inline std::string key_of(char c) {
  return std::string(40, c);
}

inline json link_entry(const std::string& name, const std::string& state, const std::string& why) {
  json counts = {{"frames_out", 10}, {"frames_in", 11},   {"bytes_out", 2048},
                 {"bytes_in", 4096}, {"dispatches", 321}, {"late", 2},
                 {"failed", 3},      {"bad_frames", 0},   {"times_down", 1}};
  return {{"id", 1},
          {"name", name},
          {"key", name.empty() ? "" : key_of(name.back())},
          {"endpoint", "tcp://10.0.0.7:7420"},
          {"state", state},
          {"why", why},
          {"round_trip_us", state == "up" ? 250 : 0},
          {"variation_us", 30},
          {"goodput_bytes_s", 0},
          {"waiting", 4},
          {"counts", counts}};
}

inline json placed_node(const std::string& name, const std::vector<std::string>& map) {
  uint64_t holds = 0;
  for (const auto& row : map)
    holds += static_cast<uint64_t>(std::count(row.begin(), row.end(), '#'));
  return {{"id", 0},
          {"name", name},
          {"key", key_of(name.back())},
          {"this", name == "n1"},
          {"up", true},
          {"home", true},
          {"complete", name != "n3"},
          {"draining", name == "n2"},
          {"holds", holds},
          {"room", 12},
          {"alone", 3},
          {"map", map}};
}

inline json placement_entry(const std::vector<std::vector<std::string>>& maps) {
  json nodes = json::array();
  for (size_t i = 0; i < maps.size(); ++i)
    nodes.push_back(placed_node(std::string("n").append(std::to_string(i + 1)), maps[i]));
  return {{"model", "demo"},
          {"layers", maps.front().size()},
          {"experts_per_layer", maps.front().front().size()},
          {"epoch", 7},
          {"uncovered", 1},
          {"loading", 2},
          {"wanted", 5},
          {"replicas", {1, 5, 2}},
          {"nodes", nodes}};
}

inline json network_entry() {
  return {{"model", "demo"},
          {"tokens", 1000},
          {"steps", 900},
          {"rounds_per_token", 3.5},
          {"bytes_per_token", 20480},
          {"us_per_token", 5000},
          {"network_share", 0.25},
          {"repeats", 0}};
}

inline json cluster_document() {
  json heard = {{"address", "10.0.0.7"}, {"at", "10.0.0.1"},  {"link", "symmetric"},
                {"quality", 0.97},       {"silent_ms", 1500}, {"connected", true},
                {"two_hop", 0},          {"compute_free", 80}};
  return {{"node", {{"name", "n1"}, {"key", key_of('1')}, {"endpoints", {"tcp://10.0.0.1:7420"}}}},
          {"hello", {{"trouble", ""}, {"heard", {heard}}}},
          {"refused", {{"no-key", 412}, {"expelled", 3}, {"too-often", 0}}},
          {"links",
           {link_entry("n2", "up", ""),
            link_entry("", "refused", "update n9: it has another version")}},
          {"placement", {placement_entry({{"##..", "#..."}, {".##.", "...."}})}},
          {"network", {network_entry()}}};
}

} // namespace coel::test
