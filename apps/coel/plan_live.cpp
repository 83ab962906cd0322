#include "apps/coel/plan_live.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>

namespace coel::app {

namespace {

using json = nlohmann::json;

double number(const json& in, const char* name) {
  auto found = in.is_object() ? in.find(name) : in.end();
  return found != in.end() && found->is_number() ? found->get<double>() : 0;
}

/// Without control characters, which could steer the terminal: names come from other machines.
std::string text(const json& in, const char* name) {
  auto found = in.is_object() ? in.find(name) : in.end();
  auto out = found != in.end() && found->is_string() ? found->get<std::string>() : "";
  for (auto& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = '?';
  return out;
}

json part(const json& in, const char* name) {
  auto found = in.is_object() ? in.find(name) : in.end();
  return found != in.end() ? *found : json();
}

json objects(const json& in, const char* name) {
  json out = json::array();
  auto all = part(in, name);
  for (const auto& one : all)
    if (one.is_object())
      out.push_back(one);
  return out;
}

void print_option(const json& o, bool chosen) {
  std::printf("%c %-28s %8.2f %10.0f %9.2f %11.1f\n", chosen ? '>' : ' ', text(o, "name").c_str(),
              number(o, "rounds_per_token"), number(o, "bytes_per_token"),
              number(o, "us_per_token") / 1000, number(o, "request_us") / 1000);
}

void print_nodes(const json& placement, const json& plan) {
  std::printf("\n  %-20s %10s %10s %10s\n", "node", "planned", "MB", "holds now");
  auto now = objects(placement, "nodes");
  for (const auto& n : objects(plan, "nodes")) {
    double holds = 0;
    for (const auto& there : now)
      if (text(there, "key") == text(n, "key"))
        holds = number(there, "holds");
    std::printf("  %-20s %10.0f %10.1f %10.0f\n", text(n, "name").c_str(), number(n, "experts"),
                number(n, "bytes") / 1e6, holds);
  }
}

void print_promises(const json& plan) {
  auto memory = part(plan, "memory");
  for (const auto& p : objects(memory, "promised"))
    std::printf("  of this node's %.1f MB for experts %s was promised %.1f MB\n",
                number(memory, "capacity_bytes") / 1e6, text(p, "home").c_str(),
                number(p, "bytes") / 1e6);
}

/// What was predicted for this home with what is held now, and what it measured.
void print_truth(const json& cluster, const json& placement, const json& plan) {
  auto predicted = part(plan, "predicted");
  for (const auto& n : objects(cluster, "network"))
    if (text(n, "model") == text(placement, "model") && number(n, "decode_us") > 0 &&
        number(predicted, "us_per_token") > 0)
      std::printf("\nHere decoding takes %.2f ms a token and %.2f rounds; predicted were %.2f ms "
                  "and %.2f.\n",
                  number(n, "decode_us") / 1000, number(n, "decode_rounds"),
                  number(predicted, "us_per_token") / 1000, number(predicted, "rounds_per_token"));
}

void print_one(const json& cluster, const json& placement) {
  auto plan = part(placement, "plan");
  std::printf("%s: %.0f layers of %.0f experts\n", text(placement, "model").c_str(),
              number(placement, "layers"), number(placement, "experts_per_layer"));
  if (number(plan, "epoch") == 0) {
    auto note = text(plan, "note");
    std::printf("no plan yet: experts are where rendezvous hashing puts them%s%s\n",
                note.empty() ? "" : "; ", note.c_str());
    return;
  }
  std::printf("plan %.0f, by %s\n\n  %-28s %8s %10s %9s %11s\n", number(plan, "epoch"),
              text(plan, "planner").c_str(), "placement", "rounds", "bytes", "ms/token",
              "request ms");
  auto chosen = text(part(plan, "chosen"), "name");
  for (const auto& o : objects(plan, "options"))
    print_option(o, text(o, "name") == chosen);
  print_nodes(placement, plan);
  print_promises(plan);
  print_truth(cluster, placement, plan);
  std::printf("\nPlan: %s.\n", text(plan, "why").c_str());
  if (auto note = text(plan, "note"); !note.empty())
    std::printf("Last: %s.\n", note.c_str());
}

json asked(const json& cluster, const std::string& model) {
  json out = json::array();
  for (auto& p : objects(cluster, "placement"))
    if (model.empty() || text(p, "model") == model)
      out.push_back(p);
  return out;
}

} // namespace

void print_live_plan(const json& cluster, const std::string& model) {
  auto all = asked(cluster, model);
  if (all.empty())
    std::printf("the node has no%s model in its cluster: see coel status\n",
                model.empty() ? "" : " such");
  for (const auto& p : all)
    print_one(cluster, p);
}

json live_plan_json(const json& cluster, const std::string& model) {
  json out = json::array();
  for (const auto& p : asked(cluster, model)) {
    json one{{"model", text(p, "model")}, {"plan", part(p, "plan")}};
    for (const auto& n : objects(cluster, "network"))
      if (text(n, "model") == text(p, "model"))
        one["network"] = n;
    out.push_back(std::move(one));
  }
  return out;
}

} // namespace coel::app
