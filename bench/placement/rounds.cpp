#include "bench/placement/record.hpp"
#include "bench/placement/tables.hpp"
#include "policy/coactivation.hpp"
#include "policy/placement.hpp"
#include "policy/session_homing.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace coel::bench {

namespace {

using namespace coel::policy;

constexpr uint32_t prompt_tokens = 32; // decide the home, and are not counted

model_demand demand(const routing_shape& shape, uint32_t wire_row_bytes) {
  model_demand m;
  m.name = "trace";
  m.layers = shape.layers;
  m.experts = shape.experts;
  m.top_k = shape.top_k;
  m.expert_bytes = 1'000'000;
  m.expert_macs = 1e5;
  m.wire_row_bytes = wire_row_bytes;
  return m;
}

/// A local expert is always sooner than one elsewhere: what is counted is rounds.
std::vector<node_facts> nodes_of(uint32_t n) {
  std::vector<node_facts> out(n);
  for (uint32_t i = 0; i < n; ++i) {
    out[i].name = "node-" + std::to_string(i);
    out[i].read_bytes_us = 100'000;
    out[i].macs_us = 100'000;
    out[i].step_us = 0;
  }
  return out;
}

home_traffic with_homes(const routing_trace& trace, uint32_t nodes, const rounds_options& o) {
  home_traffic out{trace, {}, std::vector<double>(nodes)};
  for (auto s : trace.session) {
    uint32_t home =
        o.homes == home_choice::by_domain ? s / sessions_of_a_domain : s * 2654435761u >> 16;
    out.home.push_back(static_cast<uint16_t>(o.single_home ? 0 : home % nodes));
    out.weight[out.home.back()] += 1.0 / static_cast<double>(trace.tokens());
  }
  return out;
}

/// Without the first tokens of each session.
home_traffic answers_of(const home_traffic& t) {
  home_traffic out;
  out.trace.shape = t.trace.shape;
  out.weight = t.weight;
  for (const auto& tokens : tokens_by_session(t.trace))
    for (size_t i = prompt_tokens; i < tokens.size(); ++i) {
      out.trace.append(t.trace.path(tokens[i]), t.trace.session[tokens[i]]);
      out.home.push_back(t.home[tokens[i]]);
    }
  return out;
}

struct thirds {
  routing_trace part[3];
};

thirds split_in_three(const routing_trace& trace) {
  std::vector<size_t> of[3];
  size_t nth = 0;
  for (const auto& tokens : tokens_by_session(trace)) {
    auto& to = of[nth++ % 3];
    to.insert(to.end(), tokens.begin(), tokens.end());
  }
  return {{pick_tokens(trace, of[0]), pick_tokens(trace, of[1]), pick_tokens(trace, of[2])}};
}

struct cell {
  double rounds = 0, messages = 0, bytes = 0;
  bool chosen = false;
};

} // namespace

void print_rounds(const routing_trace& trace, const rounds_options& o) {
  auto parts = split_in_three(trace);
  for (auto n : o.nodes) {
    std::vector<std::string> names;
    std::vector<std::vector<cell>> rows; // [candidates][copies]
    for (size_t c = 0; c < o.copies.size(); ++c) {
      auto items = size_t{trace.shape.layers} * trace.shape.experts;
      auto room = static_cast<uint64_t>(std::ceil(o.copies[c] * static_cast<double>(items) / n));
      placement_problem p{demand(trace.shape, o.wire_row_bytes),
                          nodes_of(n),
                          network_facts(n, {300, 125}),
                          with_homes(parts.part[0], n, o),
                          with_homes(parts.part[1], n, o),
                          std::vector<uint64_t>(n, std::min<uint64_t>(room, items)),
                          {}};
      p.options.home_by_prompt = o.homes == home_choice::by_prompt;
      p.options.prompt_tokens = 0;
      p.options.most_tokens = 12'000;
      p.options.search_moves = o.search_moves;
      auto plan = plan_placement(p);
      if (!plan) {
        std::printf("%u nodes, %.1f copies: %s\n", n, o.copies[c], plan.err().message.c_str());
        continue;
      }
      cost_model costs(p.model, p.nodes, p.network);
      auto shown = with_homes(parts.part[2], n, o);
      auto homes = shown.homes();
      for (size_t i = 0; i < plan->candidates.size(); ++i) {
        const auto& candidate = plan->candidates[i];
        auto name = candidate.name.find("searched") == candidate.name.npos ? candidate.name
                    : i + 1 == plan->candidates.size()                     ? "second best, searched"
                                                                           : "best, searched";
        auto at = static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin());
        if (at == names.size()) {
          names.push_back(name);
          rows.emplace_back(o.copies.size());
        }
        auto traffic =
            p.options.home_by_prompt ? home_by_prompt(shown, candidate.map, homes) : shown;
        auto cost = costs.decode(candidate.map, answers_of(traffic));
        rows[at][c] = {cost.rounds, cost.messages, cost.bytes, i == plan->chosen};
      }
    }
    std::printf("\n| %u nodes |", n);
    for (auto copies : o.copies)
      std::printf(" %.1f copies |", copies);
    std::printf("\n| --- |");
    for (size_t c = 0; c < o.copies.size(); ++c)
      std::printf(" --- |");
    for (size_t i = 0; i < rows.size(); ++i) {
      std::printf("\n| %s |", names[i].c_str());
      for (const auto& x : rows[i])
        std::printf(x.chosen ? " **%.2f** / %.2f / %.1f |" : " %.2f / %.2f / %.1f |", x.rounds,
                    x.messages, x.bytes / 1000);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
}

void print_routing(const routing_trace& trace) {
  const auto& s = trace.shape;
  coactivation stats(s, 0);
  stats.add(trace);
  double top = 0, successor = 0, alone = 0, again = 0, pairs = 0;
  for (uint32_t l = 0; l < s.layers; ++l) {
    std::vector<double> p;
    for (uint32_t e = 0; e < s.experts; ++e)
      p.push_back(stats.popularity(l, e));
    for (uint32_t i = 0; i < s.experts && l + 1 < s.layers; ++i) {
      double best = 0, popular = 0;
      for (uint32_t j = 0; j < s.experts; ++j) {
        best = std::max(best, stats.connection(l, i, j));
        popular = std::max(popular, stats.popularity(l + 1, j));
      }
      successor += p[i] * best;
      alone += p[i] * popular;
    }
    std::sort(p.rbegin(), p.rend());
    top += std::accumulate(p.begin(), p.begin() + s.experts / 4, 0.0);
  }
  for (size_t t = 1; t < trace.tokens(); ++t)
    for (uint32_t l = 0; l < s.layers && trace.session[t] == trace.session[t - 1];
         ++l, pairs += s.top_k)
      for (auto e : trace.at(t, l))
        again += static_cast<double>(
            std::count(trace.at(t - 1, l).begin(), trace.at(t - 1, l).end(), e));
  double layers = s.layers, between = s.layers - 1;
  std::printf("%zu tokens, %zu sessions; %u layers, %u experts, top %u\n", trace.tokens(),
              tokens_by_session(trace).size(), s.layers, s.experts, s.top_k);
  std::printf("share of the top quarter of experts %.3f; best successor %.3f (by popularity alone "
              "%.3f); same expert for the next token %.3f (chance %.3f)\n",
              top / layers / s.top_k, successor / between / s.top_k, alone / between / s.top_k,
              again / std::max(pairs, 1.0), static_cast<double>(s.top_k) / s.experts);
}

} // namespace coel::bench
