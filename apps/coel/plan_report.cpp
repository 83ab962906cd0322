#include "apps/coel/plan_report.hpp"

#include <cstdio>

namespace coel::app {

namespace {

using policy::cluster_plan;

double ms(double us) {
  return us / 1000;
}
double gb(double bytes) {
  return bytes / 1e9;
}

void print_nodes(const plan_inputs& in, const cluster_plan& plan) {
  const auto& p = in.problem;
  const auto& best = plan.placement.best();
  std::printf("\n%-20s %8s %10s %10s %10s %12s\n", "node", "experts", "used GB", "of GB", "decodes",
              "busy ms/tok");
  for (uint32_t n = 0; n < p.nodes.size(); ++n)
    std::printf("%-20s %8llu %10.2f %10.2f %9.0f%% %12.2f\n", p.nodes[n].name.c_str(),
                static_cast<unsigned long long>(best.map.count(n)),
                gb(static_cast<double>(plan.placement.memory_bytes[n])),
                gb(static_cast<double>(p.nodes[n].memory_bytes)), 100 * p.fit.weight[n],
                ms(best.decode.busy_us[n]));
}

void print_candidates(const plan_inputs& in, const cluster_plan& plan) {
  std::printf("\n  %-24s %8s %9s %10s %9s %10s %11s %9s\n", "placement", "rounds", "messages",
              "bytes", "ms/token", "prompt ms", "request ms", "imbalance");
  for (size_t i = 0; i < plan.placement.candidates.size(); ++i) {
    const auto& c = plan.placement.candidates[i];
    std::printf("%c %-24s %8.2f %9.2f %10.0f %9.2f %10.1f %11.1f %9.2f%s\n",
                i == plan.placement.chosen ? '>' : ' ', c.name.c_str(), c.decode.rounds,
                c.decode.messages, c.decode.bytes,
                ms(c.decode.us_with(in.problem.options.sessions)), ms(c.prompt.us),
                ms(c.request_us), c.decode.imbalance, c.eligible ? "" : "  (not asked for)");
  }
  if (plan.alone_decode && plan.kind != policy::plan_kind::alone)
    std::printf("  %-24s %8.2f %9.2f %10.0f %9.2f %10.1f %11.1f %9s\n", "one node alone", 0.0, 0.0,
                0.0, ms(plan.alone_decode->us_with(in.problem.options.sessions)),
                ms(plan.alone_prompt->us), ms(plan.alone_request_us), "-");
}

void print_stages(const plan_inputs& in, const cluster_plan& plan) {
  if (!plan.way || plan.kind == policy::plan_kind::stages) // which the table has, and the reason
    return;
  std::printf("\nStages would take %.2f ms a token, %.1f ms a prompt, %.1f ms a request:",
              ms(plan.way->decode.us), ms(plan.way->prompt.us), ms(plan.way->request_us));
  for (const auto& s : plan.way->stages)
    std::printf(" %s %u", in.problem.nodes[s.node].name.c_str(), s.layers);
  std::printf(" layers\n");
}

nlohmann::json cost_json(const policy::token_cost& c) {
  return {{"ms", ms(c.us)},   {"rounds", c.rounds}, {"messages", c.messages},
          {"bytes", c.bytes}, {"remote", c.remote}, {"imbalance", c.imbalance}};
}

} // namespace

void print_plan(const plan_inputs& in, const cluster_plan& plan) {
  const auto& m = in.problem.model;
  const auto& o = in.problem.options;
  std::printf("%s: %u layers of %u experts (%u of them slices of the shared one), %u a token, %.2f "
              "MB each, %.2f GB in all; a home needs %.2f GB beside\n",
              m.name.c_str(), m.layers, m.experts, m.slices, m.top_k,
              static_cast<double>(m.expert_bytes) / 1e6,
              gb(static_cast<double>(m.expert_total_bytes())),
              gb(static_cast<double>(m.home_bytes())));
  std::printf("routing: %s\n", in.routing.c_str());
  std::printf("requests: %u tokens, answers of %u, %g at once; shape %s\n", o.prompt_tokens,
              o.answer_tokens, o.sessions, std::string(to_string(o.shape)).c_str());
  for (const auto& r : plan.regions)
    std::printf("region by popularity: %s\n", r.why.c_str());
  print_candidates(in, plan);
  print_nodes(in, plan);
  print_stages(in, plan);
  std::printf("\nPlan: %s.\n", plan.why.c_str());
}

nlohmann::json plan_json(const plan_inputs& in, const cluster_plan& plan) {
  nlohmann::json candidates = nlohmann::json::array(), nodes = candidates, regions = candidates;
  for (const auto& c : plan.placement.candidates)
    candidates.push_back({{"name", c.name},
                          {"eligible", c.eligible},
                          {"decode", cost_json(c.decode)},
                          {"prompt", cost_json(c.prompt)},
                          {"request_ms", ms(c.request_us)}});
  const auto& best = plan.placement.best();
  for (uint32_t n = 0; n < in.problem.nodes.size(); ++n) {
    nlohmann::json held = nlohmann::json::array();
    for (uint32_t l = 0; l < best.map.layers; ++l) {
      nlohmann::json of_layer = nlohmann::json::array();
      for (uint32_t e = 0; e < best.map.experts; ++e)
        if (best.map.holds(n, best.map.item(l, e)))
          of_layer.push_back(e);
      held.push_back(std::move(of_layer));
    }
    nodes.push_back({{"name", in.problem.nodes[n].name},
                     {"experts", best.map.count(n)},
                     {"memory_bytes", plan.placement.memory_bytes[n]},
                     {"memory_budget_bytes", in.problem.nodes[n].memory_bytes},
                     {"share_decoded", in.problem.fit.weight[n]},
                     {"busy_ms_per_token", ms(best.decode.busy_us[n])},
                     {"holds", std::move(held)}});
  }
  for (size_t i = 0; i < plan.regions.size(); ++i) {
    nlohmann::json helpers = nlohmann::json::array();
    for (auto h : plan.regions[i].helpers)
      helpers.push_back(in.problem.nodes[h].name);
    regions.push_back({{"home", in.problem.nodes[plan.region_home[i]].name},
                       {"mode", std::string(to_string(plan.regions[i].mode))},
                       {"helpers", helpers},
                       {"why", plan.regions[i].why}});
  }
  nlohmann::json out{{"model", in.problem.model.name},
                     {"routing", in.routing},
                     {"plan", std::string(to_string(plan.kind))},
                     {"placement", best.name},
                     {"ms_per_token", ms(best.decode.us_with(in.problem.options.sessions))},
                     {"request_ms", ms(best.request_us)},
                     {"why", plan.why},
                     {"regions", regions},
                     {"candidates", candidates},
                     {"nodes", nodes}};
  if (plan.alone_decode)
    out["alone"] = {{"ms_per_token", ms(plan.alone_decode->us)},
                    {"request_ms", ms(plan.alone_request_us)}};
  if (plan.way) {
    nlohmann::json stages = nlohmann::json::array();
    for (const auto& s : plan.way->stages)
      stages.push_back({{"node", in.problem.nodes[s.node].name},
                        {"first_layer", s.first_layer},
                        {"layers", s.layers}});
    out["stages"] = {{"ms_per_token", ms(plan.way->decode.us)},
                     {"prompt_ms", ms(plan.way->prompt.us)},
                     {"request_ms", ms(plan.way->request_us)},
                     {"stages", stages}};
  }
  return out;
}

} // namespace coel::app
