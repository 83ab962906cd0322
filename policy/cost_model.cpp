#include "policy/cost_model.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace coel::policy {

namespace {

/// Nodes of a set, rising.
template <class F>
void each(node_set nodes, F&& f) {
  for (; nodes; nodes &= nodes - 1)
    f(static_cast<uint32_t>(std::countr_zero(nodes)));
}

expert_speed slowed(const expert_speed& s, double factor) {
  return {s.expert_us * factor, s.row_us * factor};
}

/// Weights of the homes that have tokens to judge by, made to sum to 1.
std::vector<double> usable_weights(const home_traffic& traffic,
                                   const std::vector<std::vector<size_t>>& tokens) {
  std::vector<double> w(tokens.size());
  double sum = 0;
  for (size_t h = 0; h < w.size(); ++h)
    if (!tokens[h].empty())
      sum += w[h] = traffic.weight[h];
  for (auto& x : w)
    x = sum > 0 ? x / sum : 0;
  return w;
}

void finish_balance(token_cost& c, const std::vector<double>& expert_us) {
  double most = 0, sum = 0;
  for (double x : expert_us) {
    most = std::max(most, x);
    sum += x;
  }
  c.imbalance = sum > 0 ? most * static_cast<double>(expert_us.size()) / sum : 1;
}

} // namespace

double token_cost::us_with(double sessions) const {
  if (together_us > 0)
    return std::max(us, together_us);
  double busiest = 0;
  for (double b : busy_us)
    busiest = std::max(busiest, b);
  return std::max(us, sessions * busiest);
}

cost_model::cost_model(model_demand model, std::vector<node_facts> nodes, network_facts network,
                       cost_options options)
    : model_(std::move(model)), nodes_(std::move(nodes)), network_(std::move(network)),
      options_(options) {
  for (const auto& n : nodes_) {
    auto t = times_of(n, model_);
    double factor = 1 / (1 - std::clamp(n.utilisation, 0.0, 0.95));
    times_.push_back({slowed(t.expert, factor), t.layer_us * factor, t.layer_row_us * factor,
                      t.head_us * factor});
  }
  for (uint32_t h = 0; h < nodes_.size(); ++h)
    for (uint32_t s = 0; s < nodes_.size(); ++s) {
      lane_cost lane{0, 0, times_[s].expert};
      if (s != h) {
        const auto& link = network_.between(h, s);
        lane.fixed_us = link.rtt_us + nodes_[s].handling_us;
        lane.wire_us_per_row = 2.0 * model_.wire_row_bytes / std::max(link.bytes_us, 1e-6);
      }
      lanes_.push_back(lane);
    }
}

double cost_model::dense_token_us(uint32_t home) const {
  return model_.layers * times_[home].layer_us + times_[home].head_us;
}

cost_model::layer_cost cost_model::layer(const expert_map& map, uint32_t layer,
                                         std::span<const uint16_t> chosen, uint32_t home,
                                         std::vector<double>* busy_us) const {
  layer_cost out;
  std::array<double, max_plan_nodes> busy;
  std::array<node_set, 64> free;
  size_t many = 0;
  auto run = [&](uint32_t s) { return lane(home, s).speed.expert_us + lane(home, s).speed.row_us; };
  auto put = [&](uint32_t s) {
    busy[s] = (out.used >> s & 1 ? busy[s] : 0) + run(s);
    out.used |= only(s);
    out.remote += s != home;
  };
  double read_us = 0;
  for (auto e : chosen) {
    node_set hosts = map.hosts[map.item(layer, e)];
    if (!hosts) {
      ++out.missing;
      if (nodes_[home].read_us > 0) {
        read_us += nodes_[home].read_us;
        put(home);
      }
    } else if (!(hosts & (hosts - 1)))
      put(static_cast<uint32_t>(std::countr_zero(hosts)));
    else if (many < free.size())
      free[many++] = hosts;
  }
  for (size_t i = 0; i < many; ++i) {
    uint32_t best = 0;
    double least = -1;
    each(free[i], [&](uint32_t s) {
      const auto& l = lane(home, s);
      double finish = l.fixed_us + l.wire_us_per_row + (out.used >> s & 1 ? busy[s] : 0) + run(s);
      if (least < 0 || finish < least) {
        least = finish;
        best = s;
      }
    });
    put(best);
  }
  each(out.used, [&](uint32_t s) {
    const auto& l = lane(home, s);
    out.us = std::max(out.us, l.fixed_us + l.wire_us_per_row + busy[s] + (s == home ? read_us : 0));
    if (busy_us)
      (*busy_us)[s] += busy[s];
  });
  return out;
}

token_cost cost_model::decode(const expert_map& map, const home_traffic& traffic,
                              double sessions) const {
  token_cost sum;
  std::vector<double> expert_us(nodes_.size());
  sum.busy_us.assign(nodes_.size(), 0);
  auto tokens = traffic.tokens_by_home();
  auto weights = usable_weights(traffic, tokens);
  std::vector<double> busy(nodes_.size());
  for (uint32_t h = 0; h < nodes_.size(); ++h) {
    if (weights[h] == 0)
      continue;
    double w = weights[h] / static_cast<double>(tokens[h].size());
    std::fill(busy.begin(), busy.end(), 0.0);
    for (size_t t : tokens[h])
      for (uint32_t l = 0; l < model_.layers; ++l) {
        auto c = layer(map, l, traffic.trace.at(t, l), h, &busy);
        int messages = std::popcount(c.used & ~only(h));
        sum.us += w * c.us;
        sum.rounds += w * (messages > 0);
        sum.messages += w * messages;
        sum.remote += w * c.remote;
        sum.missing += w * c.missing;
      }
    for (size_t s = 0; s < busy.size(); ++s)
      expert_us[s] += w * busy[s];
    sum.us += weights[h] * dense_token_us(h);
    sum.busy_us[h] += weights[h] * dense_token_us(h);
  }
  for (size_t s = 0; s < expert_us.size(); ++s)
    sum.busy_us[s] += expert_us[s];
  sum.bytes = sum.messages * 2 * model_.wire_row_bytes;
  finish_balance(sum, expert_us);
  if (sessions > 1)
    sum.together_us = together_us(map, traffic, sessions);
  return sum;
}

std::vector<uint64_t> cost_model::memory_bytes(const expert_map& map,
                                               std::span<const uint32_t> homes) const {
  std::vector<uint64_t> out;
  for (uint32_t n = 0; n < nodes_.size(); ++n) {
    bool dense = nodes_[n].runs_layers || std::find(homes.begin(), homes.end(), n) != homes.end();
    out.push_back(map.count(n) * model_.expert_bytes + (dense ? model_.home_bytes() : 0));
  }
  return out;
}

double expected_layer_us(std::vector<helper_share> helpers, double local_us, uint32_t top_k) {
  std::sort(helpers.begin(), helpers.end(),
            [](const auto& a, const auto& b) { return a.us > b.us; });
  double none = 1, left = 1, sum = 0; // none: chance that no dearer helper is used
  for (const auto& h : helpers) {
    double share = left > 1e-9 ? std::min(1.0, h.share / left) : 0;
    double used = 1 - std::pow(1 - share, top_k);
    sum += none * used * std::max(h.us, local_us);
    none *= 1 - used;
    left -= h.share;
  }
  return sum + none * local_us;
}

double cost_model::decode_closed_form_us(const expert_map& map, std::span<const double> popularity,
                                         uint32_t home) const {
  double sum = dense_token_us(home);
  auto dearness = [&](uint32_t s) {
    const auto& l = lane(home, s);
    return l.fixed_us + l.wire_us_per_row + l.speed.expert_us + l.speed.row_us;
  };
  for (uint32_t l = 0; l < model_.layers; ++l) {
    std::vector<double> mass(nodes_.size());
    for (uint32_t e = 0; e < model_.experts; ++e) {
      node_set hosts = map.hosts[map.item(l, e)];
      if (!hosts)
        continue;
      uint32_t at = home;
      if (!(hosts >> home & 1)) {
        at = static_cast<uint32_t>(std::countr_zero(hosts));
        each(hosts, [&](uint32_t s) { at = dearness(s) < dearness(at) ? s : at; });
      }
      mass[at] += popularity[map.item(l, e)];
    }
    std::vector<helper_share> helpers;
    auto run = [&](uint32_t s) {
      return lane(home, s).speed.expert_us + lane(home, s).speed.row_us;
    };
    for (uint32_t s = 0; s < nodes_.size(); ++s)
      if (s != home && mass[s] > 0)
        helpers.push_back(
            {mass[s] / model_.top_k, dearness(s) + (std::max(1.0, mass[s]) - 1) * run(s)});
    sum += expected_layer_us(std::move(helpers), mass[home] * run(home), model_.top_k);
  }
  return sum;
}

} // namespace coel::policy
