#include "apps/coel/cmd_status_cluster.hpp"

#include <cstdio>

namespace coel::app {

namespace {

using json = nlohmann::json;

// As in cmd_status.cpp: the node is not trusted to answer in the right shape.
double number(const json& in, const char* name) {
  auto found = in.find(name);
  return found != in.end() && found->is_number() ? found->get<double>() : 0;
}

/// Without control characters, which could steer the terminal: names come from other machines.
std::string text(const json& in, const char* name) {
  auto found = in.find(name);
  auto out = found != in.end() && found->is_string() ? found->get<std::string>() : "?";
  for (auto& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = '?';
  return out;
}

bool flag(const json& in, const char* name) {
  auto found = in.find(name);
  return found != in.end() && found->is_boolean() && found->get<bool>();
}

json list(const json& in, const char* name) {
  auto found = in.is_object() ? in.find(name) : in.end();
  return found != in.end() && found->is_array() ? *found : json::array();
}

void print_links(const json& links) {
  if (links.empty())
    return;
  std::printf("%-24s %-10s %10s %10s\n", "NEIGHBOUR", "STATE", "TRIP us", "MB/s");
  for (const auto& l : links) {
    if (!l.is_object())
      continue;
    std::printf("%-24s %-10s %10.0f %10.1f\n", text(l, "name").c_str(), text(l, "state").c_str(),
                number(l, "round_trip_us"), number(l, "goodput_bytes_s") / 1e6);
    if (auto why = l.value("why", json()); why.is_string() && why != "")
      std::printf("  %s\n", text(l, "why").c_str());
  }
}

void print_placement(const json& placement) {
  for (const auto& p : placement) {
    if (!p.is_object())
      continue;
    std::printf("%s: %.0f experts", text(p, "model").c_str(), number(p, "experts"));
    for (const auto& n : list(p, "nodes"))
      if (n.is_object())
        std::printf(", %s holds %.0f%s", text(n, "name").c_str(), number(n, "holds"),
                    flag(n, "draining")           ? " (draining)"
                    : text(n, "role") == "helper" ? " (helper)"
                    : flag(n, "up")               ? ""
                                                  : " (down)");
    if (auto plan = p.value("plan", json()); plan.is_object() && number(plan, "epoch") > 0)
      std::printf("; placed by %s%s", text(plan, "name").c_str(),
                  flag(plan, "alone") ? ", one node alone is faster" : "");
    if (number(p, "left") > 0)
      std::printf("; no room for %.0f, which homes read", number(p, "left"));
    std::printf(number(p, "uncovered") > 0 ? "; nobody holds %.0f\n" : "\n",
                number(p, "uncovered"));
  }
}

void print_network(const json& network) {
  for (const auto& n : network) {
    if (!n.is_object() || number(n, "tokens") == 0)
      continue;
    std::printf(
        "%s: %.0f us a token, %.0f %% of it waiting for neighbours, %.1f rounds, %.1f KiB\n",
        text(n, "model").c_str(), number(n, "us_per_token"), 100 * number(n, "network_share"),
        number(n, "rounds_per_token"), number(n, "bytes_per_token") / 1024);
    if (auto rows = n.value("rows", json()); rows.is_object() && number(rows, "read") > 0)
      std::printf("%s: %.0f rows of experts here, %.0f at neighbours, %.0f read from disk\n",
                  text(n, "model").c_str(), number(rows, "here"), number(rows, "away"),
                  number(rows, "read"));
    if (number(n, "decode_us") > 0 && number(n, "predicted_us") > 0)
      std::printf(
          "%s: decoding takes %.0f us a token and %.1f rounds, predicted %.0f us and %.1f\n",
          text(n, "model").c_str(), number(n, "decode_us"), number(n, "decode_rounds"),
          number(n, "predicted_us"), number(n, "predicted_rounds"));
    if (number(n, "sessions_sent") > 0)
      std::printf("%s: %.0f sessions that came in here were decoded at a better home\n",
                  text(n, "model").c_str(), number(n, "sessions_sent"));
    if (n.contains("advice"))
      std::printf("advice: %s\n", text(n, "advice").c_str());
  }
}

} // namespace

void print_cluster(const json& cluster) {
  std::printf("\ncluster: %s is one of %.0f nodes, %.0f up; key %s\n",
              text(cluster, "name").c_str(), number(cluster, "nodes"), number(cluster, "up"),
              text(cluster, "key").c_str());
  print_links(list(cluster, "links"));
  print_placement(list(cluster, "placement"));
  print_network(list(cluster, "network"));
}

} // namespace coel::app
