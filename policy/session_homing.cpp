#include "policy/session_homing.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace coel::policy {

namespace {

/// Weights by how many tokens each home got.
void weigh(home_traffic& t) {
  std::fill(t.weight.begin(), t.weight.end(), 0.0);
  for (auto h : t.home)
    t.weight[h] += 1.0 / static_cast<double>(t.home.size());
}

using histogram = std::vector<float>; // [items] activations of one session

std::vector<histogram> histograms(const routing_trace& trace,
                                  const std::vector<std::vector<size_t>>& sessions) {
  std::vector<histogram> out;
  for (const auto& tokens : sessions) {
    histogram h(size_t{trace.shape.layers} * trace.shape.experts);
    for (auto t : tokens)
      for (uint32_t l = 0; l < trace.shape.layers; ++l)
        for (auto e : trace.at(t, l))
          h[size_t{l} * trace.shape.experts + e] += 1;
    out.push_back(std::move(h));
  }
  return out;
}

double mass(const histogram& h, const expert_map& map, uint32_t node) {
  double m = 0;
  for (size_t i = 0; i < h.size(); ++i)
    m += h[i] * static_cast<float>(map.hosts[i] >> node & 1);
  return m;
}

struct clustering {
  std::vector<size_t> home; ///< [sessions] index into homes
  double local = 0;
};

/// Those who have most to lose choose first.
clustering assign_by_regret(const std::vector<std::vector<double>>& value, size_t homes,
                            size_t most) {
  std::vector<double> regret;
  for (auto v : value) {
    std::sort(v.rbegin(), v.rend());
    regret.push_back(homes > 1 ? v[0] - v[1] : 0);
  }
  std::vector<size_t> order(value.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return regret[a] > regret[b]; });
  clustering out{std::vector<size_t>(value.size()), 0};
  std::vector<size_t> left(homes, most);
  for (auto i : order) {
    size_t best = homes;
    for (size_t s = 0; s < homes; ++s)
      if (left[s] && (best == homes || value[i][s] > value[i][best]))
        best = s;
    --left[best];
    out.home[i] = best;
    out.local += value[i][best];
  }
  return out;
}

home_traffic with_homes(const home_traffic& traffic,
                        const std::vector<std::vector<size_t>>& sessions,
                        const std::vector<size_t>& home, std::span<const uint32_t> homes) {
  auto out = traffic;
  for (size_t i = 0; i < sessions.size(); ++i)
    for (auto t : sessions[i])
      out.home[t] = static_cast<uint16_t>(homes[home[i]]);
  weigh(out);
  return out;
}

} // namespace

std::vector<double> local_shares(const expert_map& map, const routing_trace& trace,
                                 std::span<const size_t> prompt) {
  std::vector<double> out(map.nodes);
  double all = 0;
  for (auto t : prompt)
    for (uint32_t l = 0; l < trace.shape.layers; ++l)
      for (auto e : trace.at(t, l)) {
        all += 1;
        for (auto h = map.hosts[map.item(l, e)]; h; h &= h - 1)
          out[static_cast<size_t>(std::countr_zero(h))] += 1;
      }
  for (auto& x : out)
    x = all > 0 ? x / all : 0;
  return out;
}

uint32_t choose_home(std::span<const double> share, std::span<const double> load,
                     std::span<const uint32_t> may, uint32_t entry) {
  constexpr double queue_weight = 0.05; // a session more than its part costs as much as 5 % of
                                        // activations that are not local
  double sum = 0;
  for (auto h : may)
    sum += load[h];
  double even = sum / std::max<double>(1, static_cast<double>(may.size()));
  uint32_t best = entry;
  double top = -1e300;
  for (auto h : may) {
    double score = share[h] - queue_weight * std::max(0.0, load[h] - even);
    if (score > top + 1e-12 || (score > top - 1e-12 && h == entry)) {
      top = std::max(top, score);
      best = h;
    }
  }
  return best;
}

namespace {

double step_us(const home_offer& o, double sessions) {
  return sessions > 0 ? o.token_us + o.more_us * (sessions - 1) : 0;
}

/// How far two homes stand in each other's way: 0 where they use different nodes, 1 where half of
/// what they use is the same, since a step waits for the last of its nodes.
double overlap(const home_offer& a, const home_offer& b) {
  double sum_a = std::accumulate(a.busy_us.begin(), a.busy_us.end(), 0.0);
  double sum_b = std::accumulate(b.busy_us.begin(), b.busy_us.end(), 0.0);
  if (sum_a <= 0 || sum_b <= 0 || a.busy_us.size() != b.busy_us.size())
    return 0;
  double common = 0;
  for (size_t n = 0; n < a.busy_us.size(); ++n)
    common += std::min(a.busy_us[n] / sum_a, b.busy_us[n] / sum_b);
  return std::min(1.0, 2 * common);
}

/// From token to token at `all[home]`, with one session more at `all[joined]`.
double token_us_at(size_t home, size_t joined, std::span<const home_offer> all) {
  double us = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    double share = i == home ? 1 : overlap(all[home], all[i]);
    us += share * step_us(all[i], all[i].sessions + (i == joined));
  }
  return us;
}

/// Tokens of all sessions in a microsecond.
double rate(size_t joined, std::span<const home_offer> all) {
  double sum = 0;
  for (size_t i = 0; i < all.size(); ++i)
    if (double sessions = all[i].sessions + (i == joined); sessions > 0)
      sum += sessions / std::max(token_us_at(i, joined, all), 1e-9);
  return sum;
}

} // namespace

uint32_t best_home(std::span<const home_offer> offers, double answer_tokens) {
  constexpr double enough = 1.0 / 6;
  size_t best = 0;
  double soonest = (1 - enough) * token_us_at(0, 0, offers) * answer_tokens;
  for (size_t i = 1; i < offers.size(); ++i) {
    double us = token_us_at(i, i, offers), slower = us / std::max(offers[i].token_us, 1e-9);
    double all = us * answer_tokens + offers[i].again_us * slower;
    if (all < soonest && rate(i, offers) >= rate(0, offers)) {
      soonest = all;
      best = i;
    }
  }
  return offers[best].node;
}

home_traffic home_by_prompt(const home_traffic& traffic, const expert_map& map,
                            std::span<const uint32_t> homes, const homing_options& options) {
  auto out = traffic;
  auto sessions = tokens_by_session(traffic.trace);
  std::vector<double> load(map.nodes);
  auto most = std::ceil(options.most * static_cast<double>(sessions.size()) /
                        static_cast<double>(homes.size()));
  std::vector<double> none(map.nodes);
  for (const auto& tokens : sessions) {
    auto n = std::min<size_t>(tokens.size(), options.prompt_tokens);
    auto share = local_shares(map, traffic.trace, std::span(tokens).first(n));
    std::vector<uint32_t> may;
    for (auto h : homes)
      if (load[h] < most)
        may.push_back(h);
    auto home = choose_home(share, none, may, traffic.home[tokens.front()]);
    load[home] += 1;
    for (auto t : tokens)
      out.home[t] = static_cast<uint16_t>(home);
  }
  weigh(out);
  return out;
}

home_traffic cluster_sessions(const home_traffic& traffic, const std::vector<uint64_t>& room,
                              std::span<const uint32_t> homes, uint64_t seed,
                              const homing_options& options) {
  auto sessions = tokens_by_session(traffic.trace);
  auto hist = histograms(traffic.trace, sessions);
  auto most = static_cast<size_t>(std::ceil(options.most * static_cast<double>(sessions.size()) /
                                            static_cast<double>(homes.size())));
  uint32_t starts = room.size() > 8 ? 1 : 3, rounds = room.size() > 8 ? 4 : 8;
  std::mt19937_64 random(seed);
  clustering best;
  for (uint32_t start = 0; start < starts; ++start) {
    clustering now{std::vector<size_t>(sessions.size()), 0};
    for (size_t i = 0; i < sessions.size(); ++i)
      now.home[i] = random() % homes.size();
    for (uint32_t round = 0; round < rounds; ++round) {
      auto map =
          place_popularity(make_inputs(with_homes(traffic, sessions, now.home, homes), room));
      std::vector<std::vector<double>> value;
      for (const auto& h : hist) {
        value.emplace_back();
        for (auto s : homes)
          value.back().push_back(mass(h, map, s));
      }
      auto next = assign_by_regret(value, homes.size(), most);
      bool same = next.home == now.home;
      now = std::move(next);
      if (same)
        break;
    }
    if (best.home.empty() || now.local > best.local)
      best = std::move(now);
  }
  return with_homes(traffic, sessions, best.home, homes);
}

} // namespace coel::policy
