// Prompts, and sessions that decode together: many rows in a step, so a host's time is that of
// reading its experts and of the rows.
#include "policy/cost_model.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace coel::policy {

namespace {

using row_bits = std::vector<uint64_t>;

uint32_t count(const row_bits& bits) {
  uint32_t n = 0;
  for (auto w : bits)
    n += static_cast<uint32_t>(std::popcount(w));
  return n;
}

uint32_t count_union(const row_bits& a, const row_bits& b) {
  uint32_t n = 0;
  for (size_t i = 0; i < a.size(); ++i)
    n += static_cast<uint32_t>(std::popcount(a[i] | b[i]));
  return n;
}

} // namespace

/// The rows of one step at one layer.
struct cost_model::batch {
  uint32_t layer = 0;
  uint32_t words = 0;
  struct group {
    uint32_t expert = 0;
    uint32_t rows = 0;
    row_bits bits;
  };
  std::vector<group> groups;

  batch(uint32_t layer_, std::span<const size_t> tokens, const routing_trace& trace)
      : layer(layer_), words(static_cast<uint32_t>((tokens.size() + 63) / 64)) {
    std::vector<int32_t> slot(trace.shape.experts, -1);
    for (size_t r = 0; r < tokens.size(); ++r)
      for (auto e : trace.at(tokens[r], layer_)) {
        if (slot[e] < 0) {
          slot[e] = static_cast<int32_t>(groups.size());
          groups.push_back({e, 0, row_bits(words)});
        }
        auto& g = groups[static_cast<size_t>(slot[e])];
        ++g.rows;
        g.bits[r / 64] |= uint64_t{1} << (r % 64);
      }
    std::sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) {
      return a.rows != b.rows ? a.rows > b.rows : a.expert < b.expert;
    });
  }
};

/// As policy/dispatch_split.cpp: what one host alone holds first, then longest first to whoever is
/// through soonest.
void cost_model::split_batch(const expert_map& map, uint32_t home, batch& b, token_cost& sum,
                             double weight) const {
  struct host {
    double busy = 0;
    uint32_t rows = 0;
    bool used = false;
    row_bits bits;
  };
  std::vector<host> hosts(nodes_.size());
  auto run = [&](uint32_t s, uint32_t rows) {
    return lane(home, s).speed.expert_us + lane(home, s).speed.row_us * rows;
  };
  auto put = [&](uint32_t s, const batch::group& g) {
    auto& x = hosts[s];
    if (!x.used)
      x.bits.assign(b.words, 0);
    x.used = true;
    x.busy += run(s, g.rows);
    for (size_t i = 0; i < b.words; ++i)
      x.bits[i] |= g.bits[i];
    x.rows = count(x.bits);
    sum.remote += weight * (s != home ? g.rows : 0);
  };
  auto finish_with = [&](uint32_t s, const batch::group& g) {
    const auto& l = lane(home, s);
    double rows = 0;
    if (s != home)
      rows = hosts[s].used ? count_union(hosts[s].bits, g.bits) : g.rows;
    return l.fixed_us + l.wire_us_per_row * rows + hosts[s].busy + run(s, g.rows);
  };
  auto set_of = [&](const batch::group& g) { return map.hosts[map.item(b.layer, g.expert)]; };
  double read_us = 0; // by the home, while its device waits
  for (const auto& g : b.groups) {
    if (!set_of(g)) {
      sum.missing += weight * g.rows;
      if (nodes_[home].read_us > 0) {
        read_us += nodes_[home].read_us;
        put(home, g);
      }
    } else if (std::has_single_bit(set_of(g)))
      put(static_cast<uint32_t>(std::countr_zero(set_of(g))), g);
  }
  for (const auto& g : b.groups) {
    if (std::popcount(set_of(g)) < 2)
      continue;
    uint32_t best = max_plan_nodes;
    double least = 0;
    for (auto s = set_of(g); s; s &= s - 1) {
      auto n = static_cast<uint32_t>(std::countr_zero(s));
      double f = finish_with(n, g);
      if (best == max_plan_nodes || f < least) {
        best = n;
        least = f;
      }
    }
    put(best, g);
  }
  double us = 0, wire = 0, soonest = -1;
  uint32_t messages = 0;
  for (uint32_t s = 0; s < hosts.size(); ++s) {
    if (!hosts[s].used)
      continue;
    const auto& l = lane(home, s);
    double travel = s == home ? 0 : l.wire_us_per_row * hosts[s].rows;
    us = std::max(us, l.fixed_us + travel + hosts[s].busy + (s == home ? read_us : 0));
    sum.busy_us[s] += weight * hosts[s].busy;
    if (s == home)
      continue;
    ++messages;
    wire += travel / 2;
    sum.bytes += weight * 2 * model_.wire_row_bytes * hosts[s].rows;
    double last = l.fixed_us + travel / 2 + hosts[s].busy;
    soonest = soonest < 0 ? last : std::min(soonest, last);
  }
  // All that a home sends leaves by one network card, one host's rows after another's.
  us = std::max(us, messages > 1 ? wire + soonest : 0);
  sum.us += weight * us;
  sum.rounds += weight * (messages > 0);
  sum.messages += weight * messages;
}

void cost_model::add_layers(const expert_map& map, uint32_t home, const routing_trace& trace,
                            std::span<const size_t> rows, uint32_t first, uint32_t end,
                            token_cost& sum, double weight) const {
  double dense = (end - first) * (times_[home].layer_us +
                                  times_[home].layer_row_us * static_cast<double>(rows.size() - 1));
  sum.us += weight * dense;
  sum.busy_us[home] += weight * dense;
  for (uint32_t l = first; l < end; ++l) {
    batch b(l, rows, trace);
    split_batch(map, home, b, sum, weight);
  }
}

token_cost cost_model::layers(const expert_map& map, const routing_trace& trace,
                              std::span<const size_t> rows, uint32_t node, uint32_t first,
                              uint32_t end) const {
  token_cost sum;
  sum.busy_us.assign(nodes_.size(), 0);
  add_layers(map, node, trace, rows, first, end, sum, 1);
  return sum;
}

void cost_model::add_prompt(const expert_map& map, uint32_t home, const routing_trace& trace,
                            std::span<const size_t> tokens, token_cost& sum, double weight) const {
  for (size_t from = 0; from < tokens.size(); from += options_.slice_rows) {
    auto rows = tokens.subspan(from, std::min<size_t>(options_.slice_rows, tokens.size() - from));
    add_layers(map, home, trace, rows, 0, model_.layers, sum, weight);
  }
  sum.us += weight * times_[home].head_us;
  sum.busy_us[home] += weight * times_[home].head_us;
}

token_cost cost_model::prompt(const expert_map& map, const home_traffic& traffic,
                              uint32_t tokens) const {
  token_cost sum;
  sum.busy_us.assign(nodes_.size(), 0);
  auto of = traffic.tokens_by_home();
  double total = 0;
  for (size_t h = 0; h < of.size(); ++h)
    total += of[h].empty() ? 0 : traffic.weight[h];
  for (uint32_t h = 0; h < of.size(); ++h) {
    if (of[h].empty() || traffic.weight[h] == 0)
      continue;
    size_t have = of[h].size(), n = std::max(1u, tokens);
    size_t samples = std::clamp<size_t>(have / n, 1, std::max(1u, options_.prompt_samples));
    double w = traffic.weight[h] / total / static_cast<double>(samples);
    for (size_t i = 0; i < samples; ++i) {
      std::vector<size_t> rows(n);
      for (size_t r = 0; r < n; ++r) // tokens that follow each other: a prompt is about one thing
        rows[r] = of[h][(i * have / samples + r) % have];
      add_prompt(map, h, traffic.trace, rows, sum, w);
    }
  }
  return sum;
}

step_cost cost_model::step(const expert_map& map, const routing_trace& trace,
                           std::span<const size_t> tokens, uint32_t home, size_t sessions) const {
  constexpr size_t steps = 12; // looked at
  token_cost sum;
  sum.busy_us.assign(nodes_.size(), 0);
  size_t have = tokens.size(), looked = std::clamp<size_t>(have / sessions, 1, steps);
  for (size_t i = 0; i < looked; ++i) {
    std::vector<size_t> rows(sessions);
    for (size_t r = 0; r < sessions; ++r)
      rows[r] = tokens[(i + r * have / sessions) % have];
    add_layers(map, home, trace, rows, 0, model_.layers, sum, 1 / static_cast<double>(looked));
  }
  double head_us = times_[home].head_us;
  sum.busy_us[home] += head_us;
  return {sum.us + head_us, std::move(sum.busy_us)};
}

double cost_model::together_us(const expert_map& map, const home_traffic& traffic,
                               double sessions) const {
  auto of = traffic.tokens_by_home();
  double slowest = 0;
  std::vector<double> busy(nodes_.size());
  for (uint32_t h = 0; h < of.size(); ++h) {
    if (of[h].empty() || traffic.weight[h] == 0)
      continue;
    auto here = static_cast<size_t>(std::lround(sessions * traffic.weight[h]));
    here = std::clamp<size_t>(here, 1, std::max<size_t>(1, options_.slice_rows));
    auto one = step(map, traffic.trace, of[h], h, here);
    slowest = std::max(slowest, one.us);
    for (size_t n = 0; n < busy.size(); ++n)
      busy[n] += one.busy_us[n];
  }
  return std::max(slowest, *std::max_element(busy.begin(), busy.end()));
}

} // namespace coel::policy
