#include "policy/stage_way.hpp"

#include "policy/stage_batches.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

namespace coel::policy {

namespace {

constexpr size_t most_nodes = 8; // subsets of more take too long
constexpr size_t looked_at = 96; // tokens that a way is chosen by
constexpr size_t priced = 256;   // tokens that a way is priced by
constexpr uint32_t prompts_seen = 2;
constexpr double never = std::numeric_limits<double>::infinity();

double hop_us(const cost_model& costs, uint32_t a, uint32_t b, double rows) {
  if (a == b)
    return 0;
  const auto& l = costs.network().between(a, b);
  return l.rtt_us / 2 + costs.nodes()[b].handling_us / 2 +
         rows * costs.model().wire_row_bytes / std::max(l.bytes_us, 1e-6);
}

/// From all homes, by their weight.
double mean_hop_us(const cost_model& costs, const home_traffic& t, uint32_t node, double rows) {
  double sum = 0;
  for (auto h : t.homes())
    sum += t.weight[h] * hop_us(costs, h, node, rows);
  return sum;
}

double head_us(const cost_model& costs, const home_traffic& t) {
  double sum = 0;
  for (auto h : t.homes())
    sum += t.weight[h] * costs.times(h).head_us;
  return sum;
}

class way_finder {
 public:
  way_finder(const cost_model& costs, const expert_map& map, const home_traffic& traffic)
      : costs_(costs), map_(map), traffic_(traffic), layers_(costs.model().layers) {
    measure(stage_nodes(costs.nodes(), traffic));
    pick();
  }

  found_way find(int least_nodes) {
    auto n = node_.size();
    best_.assign((size_t{1} << n) * n * (layers_ + 1), never);
    from_.assign(best_.size(), 0);
    for (size_t i = 0; i < n; ++i)
      reach(at(size_t{1} << i, i, 1), mean_hop_us(costs_, traffic_, node_[i], 1) + us_[i][0], 0);
    for (size_t set = 1; set < size_t{1} << n; ++set)
      for (uint32_t done = 1; done < layers_; ++done)
        for (size_t last = 0; last < n; ++last)
          if (double now = best_[at(set, last, done)]; now < never)
            extend(set, last, done, now);
    return describe(least_nodes);
  }

 private:
  /// Each layer at each home, averaged over some tokens.
  void measure(const std::vector<uint32_t>& nodes) {
    size_t all = traffic_.trace.tokens(), some = std::min(all, looked_at);
    for (auto n : nodes) {
      node_.push_back(n);
      auto& us = us_.emplace_back(layers_, costs_.times(n).layer_us);
      for (uint32_t l = 0; l < layers_; ++l)
        for (size_t i = 0; i < some; ++i)
          us[l] += costs_.layer(map_, l, traffic_.trace.at(i * all / some, l), n).us /
                   static_cast<double>(some);
    }
  }

  /// Those that run layers sooner than most.
  void pick() {
    if (node_.size() <= most_nodes)
      return;
    std::vector<size_t> order(node_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    auto rank = [&](size_t i) { // its best layers: where its experts are
      auto us = us_[i];
      auto part = std::max<size_t>(1, us.size() / most_nodes);
      std::partial_sort(us.begin(), us.begin() + static_cast<std::ptrdiff_t>(part), us.end());
      return std::accumulate(us.begin(), us.begin() + static_cast<std::ptrdiff_t>(part), 0.0);
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return rank(a) < rank(b); });
    std::vector<uint32_t> nodes;
    std::vector<std::vector<double>> us;
    for (size_t i = 0; i < most_nodes; ++i) {
      nodes.push_back(node_[order[i]]);
      us.push_back(us_[order[i]]);
    }
    node_ = std::move(nodes);
    us_ = std::move(us);
  }

  size_t at(size_t set, size_t last, uint32_t done) const {
    return (set * node_.size() + last) * (layers_ + 1) + done;
  }

  void reach(size_t to, double us, size_t from) {
    if (us < best_[to]) {
      best_[to] = us;
      from_[to] = from;
    }
  }

  void extend(size_t set, size_t last, uint32_t done, double now) {
    reach(at(set, last, done + 1), now + us_[last][done], at(set, last, done));
    for (size_t next = 0; next < node_.size(); ++next)
      if (!(set >> next & 1))
        reach(at(set | size_t{1} << next, next, done + 1),
              now + hop_us(costs_, node_[last], node_[next], 1) + us_[next][done],
              at(set, last, done));
  }

  found_way describe(int least_nodes) const {
    double least = never;
    size_t end = 0;
    for (size_t set = 1; set < size_t{1} << node_.size(); ++set)
      for (size_t last = 0; last < node_.size() && std::popcount(set) >= least_nodes; ++last) {
        auto i = at(set, last, layers_);
        if (double us = best_[i] + mean_hop_us(costs_, traffic_, node_[last], 1); us < least) {
          least = us;
          end = i;
        }
      }
    std::vector<stage> out;
    for (size_t i = end; i; i = from_[i]) { // state 0 has no set: it is none
      auto node = node_[i / (layers_ + 1) % node_.size()];
      auto layer = static_cast<uint32_t>(i % (layers_ + 1)) - 1;
      if (out.empty() || out.front().node != node)
        out.insert(out.begin(), {node, layer, 0});
      out.front().first_layer = layer;
      ++out.front().layers;
    }
    return {std::move(out), least};
  }

  const cost_model& costs_;
  const expert_map& map_;
  const home_traffic& traffic_;
  uint32_t layers_;
  std::vector<uint32_t> node_;
  std::vector<std::vector<double>> us_; // [nodes][layers]
  std::vector<double> best_;            // [sets, last, layers done]
  std::vector<size_t> from_;
};

void add(token_cost& to, const token_cost& from, double weight) {
  to.us += weight * from.us;
  to.rounds += weight * from.rounds;
  to.messages += weight * from.messages;
  to.bytes += weight * from.bytes;
  to.remote += weight * from.remote;
  to.missing += weight * from.missing;
  for (size_t n = 0; n < to.busy_us.size(); ++n)
    to.busy_us[n] += weight * from.busy_us[n];
}

token_cost nothing(const cost_model& costs) {
  token_cost out;
  out.busy_us.assign(costs.nodes().size(), 0);
  return out;
}

/// One-way messages of a token: from the home, between stages, and back.
double hops_of(const home_traffic& t, const std::vector<stage>& stages) {
  double hops = static_cast<double>(stages.size()) + 1;
  for (auto h : t.homes())
    hops -= t.weight[h] * ((stages.front().node == h) + (stages.back().node == h));
  return hops;
}

/// Of rows of home `h`, through all stages and back.
double travel_us(const cost_model& costs, uint32_t h, const std::vector<stage>& stages, double rows,
                 double rows_back) {
  double us =
      hop_us(costs, h, stages.front().node, rows) + hop_us(costs, stages.back().node, h, rows_back);
  for (size_t i = 1; i < stages.size(); ++i)
    us += hop_us(costs, stages[i - 1].node, stages[i].node, rows);
  return us;
}

/// Of all homes, by their weight.
double mean_travel_us(const cost_model& costs, const home_traffic& t,
                      const std::vector<stage>& stages, double rows, double rows_back) {
  double sum = 0;
  for (auto h : t.homes())
    sum += t.weight[h] * travel_us(costs, h, stages, rows, rows_back);
  return sum;
}

token_cost price_decode(const cost_model& costs, const expert_map& map, const home_traffic& t,
                        const std::vector<stage>& stages) {
  auto out = nothing(costs);
  size_t all = t.trace.tokens(), some = std::min(all, priced);
  for (const auto& s : stages)
    for (size_t i = 0; i < some; ++i) {
      size_t row = i * all / some;
      add(out,
          costs.layers(map, t.trace, std::span<const size_t>(&row, 1), s.node, s.first_layer,
                       s.first_layer + s.layers),
          1 / static_cast<double>(some));
    }
  double hops = hops_of(t, stages);
  out.us += mean_travel_us(costs, t, stages, 1, 1) + head_us(costs, t);
  out.messages += hops;
  out.bytes += hops * costs.model().wire_row_bytes;
  for (auto h : t.homes())
    out.busy_us[h] += t.weight[h] * costs.times(h).head_us;
  return out;
}

/// The mean over some groups of tokens, far apart from each other as each is of a session of its
/// own.
token_cost group_cost(const cost_model& costs, const expert_map& map, const home_traffic& t,
                      const stage& s, uint32_t of_group) {
  constexpr size_t looked = 12;
  auto out = nothing(costs);
  for (size_t i = 0; i < looked; ++i) {
    std::vector<size_t> rows(of_group);
    for (size_t r = 0; r < rows.size(); ++r)
      rows[r] = (i + r * t.trace.tokens() / rows.size()) % t.trace.tokens();
    add(out, costs.layers(map, t.trace, rows, s.node, s.first_layer, s.first_layer + s.layers),
        1. / looked);
  }
  out.busy_us[s.node] = out.us; // it waits for experts of others
  return out;
}

/// Each home's sessions pass in groups that follow each other (policy/stage_batches). A group is
/// through when it has passed all stages and its home's output matrix, and no node does more than
/// it has time for: a stage runs one group at a time, and each group reads the weights anew.
double decode_together_us(const cost_model& costs, const expert_map& map, const home_traffic& t,
                          const std::vector<stage>& stages, double sessions) {
  std::map<uint32_t, std::vector<token_cost>> at_stages; // by rows of a group
  std::vector<double> busy(costs.nodes().size());
  double slowest = 0;
  for (auto h : t.homes()) {
    auto here = std::max(1u, static_cast<uint32_t>(std::lround(sessions * t.weight[h])));
    auto of_group = decoders_of_batch(here, static_cast<uint32_t>(stages.size()));
    auto& each = at_stages[of_group];
    if (each.empty())
      for (const auto& s : stages)
        each.push_back(group_cost(costs, map, t, s, of_group));
    double groups = std::ceil(double{1} * here / of_group), head = costs.times(h).head_us;
    double passing = travel_us(costs, h, stages, of_group, of_group) + head;
    busy[h] += groups * head;
    for (const auto& one : each) {
      passing += one.us;
      for (size_t n = 0; n < busy.size(); ++n)
        busy[n] += groups * one.busy_us[n];
    }
    slowest = std::max(slowest, passing);
  }
  return std::max(slowest, *std::max_element(busy.begin(), busy.end()));
}

/// `rows` tokens, the first of them at `from`.
std::vector<size_t> run_of(const home_traffic& t, size_t from, uint32_t rows) {
  std::vector<size_t> out(rows);
  for (uint32_t r = 0; r < rows; ++r)
    out[r] = (from + r) % t.trace.tokens();
  return out;
}

token_cost price_prompt(const cost_model& costs, const expert_map& map, const home_traffic& t,
                        const std::vector<stage>& stages, uint32_t tokens, uint32_t slice) {
  auto out = nothing(costs);
  auto turns = (tokens + slice - 1) / slice;
  double slowest = 0, first_pass = 0;
  for (uint32_t sample = 0; sample < prompts_seen; ++sample) {
    auto rows = run_of(t, sample * t.trace.tokens() / prompts_seen, slice);
    for (const auto& s : stages) {
      auto one = costs.layers(map, t.trace, rows, s.node, s.first_layer, s.first_layer + s.layers);
      first_pass += one.us / prompts_seen;
      slowest = std::max(slowest, one.us);
      one.us = 0;
      add(out, one, static_cast<double>(turns) / prompts_seen);
    }
  }
  // The wire is one more stage.
  for (size_t i = 1; i < stages.size(); ++i)
    slowest = std::max(slowest, hop_us(costs, stages[i - 1].node, stages[i].node, slice) -
                                    hop_us(costs, stages[i - 1].node, stages[i].node, 0));
  out.us = first_pass + (turns - 1) * slowest + mean_travel_us(costs, t, stages, slice, 1) +
           head_us(costs, t);
  double hops = hops_of(t, stages);
  out.messages += hops * turns;
  out.bytes += hops * tokens * costs.model().wire_row_bytes;
  return out;
}

} // namespace

token_cost decode_by_way(const cost_model& costs, const expert_map& map,
                         const home_traffic& traffic, double sessions,
                         const std::vector<stage>& stages) {
  auto out = price_decode(costs, map, traffic, stages);
  if (sessions > 1)
    out.together_us = decode_together_us(costs, map, traffic, stages, sessions);
  return out;
}

stage_way price_way(const cost_model& costs, const expert_map& map, const home_traffic& traffic,
                    const placement_options& options, std::vector<stage> stages) {
  stage_way out;
  out.stages = std::move(stages);
  out.hops = static_cast<uint32_t>(out.stages.size()) + 1;
  out.decode = decode_by_way(costs, map, traffic, options.sessions, out.stages);
  out.prompt = nothing(costs);
  for (uint32_t slice : {16u, 32u, 64u, 128u})
    if (options.prompt_tokens && (slice == 16 || slice < 2 * options.prompt_tokens)) {
      auto one = price_prompt(costs, map, traffic, out.stages, options.prompt_tokens,
                              std::min(slice, options.prompt_tokens));
      if (slice == 16 || one.us < out.prompt.us)
        out.prompt = std::move(one);
    }
  out.request_us = request_us(out.decode, out.prompt, options);
  return out;
}

std::optional<found_way> find_way(const cost_model& costs, const expert_map& map,
                                  const home_traffic& traffic, bool pinned) {
  if (stage_nodes(costs.nodes(), traffic).size() < 2 || !traffic.trace.tokens())
    return {};
  auto found = way_finder(costs, map, traffic).find(pinned ? 2 : 1);
  if (found.stages.size() < 2)
    return {};
  return found;
}

std::optional<expert_map> place_stages(const cost_model& costs, const home_traffic& traffic,
                                       const std::vector<uint64_t>& room, bool even) {
  const auto& m = costs.model();
  auto order = stage_nodes(costs.nodes(), traffic);
  auto layer_us = [&](uint32_t n) {
    const auto& t = costs.times(n);
    return t.layer_us + m.top_k * (t.expert.expert_us + t.expert.row_us);
  };
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return traffic.weight[a] != traffic.weight[b] ? traffic.weight[a] > traffic.weight[b]
                                                  : layer_us(a) < layer_us(b);
  });
  auto left = room;
  std::vector<uint32_t> takes(room.size());
  uint32_t whole = 0;
  double speed = 0;
  for (auto n : order) {
    whole += takes[n] = static_cast<uint32_t>(std::min<uint64_t>(m.layers, room[n] / m.experts));
    speed += 1 / layer_us(n);
  }
  if (order.size() < 2 || 2 * whole < m.layers)
    return {};
  for (uint32_t spare = whole > m.layers ? whole - m.layers : 0; spare > 0; --spare) {
    uint32_t from = order.back(); // who has most beyond its part, or the last in order
    double most = -never;
    for (size_t i = order.size(); i-- > 0;) {
      auto n = order[i];
      double part = m.layers / (layer_us(n) * speed), over = takes[n] - (even ? part : 0);
      if (takes[n] && (even ? over > most : most == -never)) {
        most = over;
        from = n;
      }
    }
    --takes[from];
  }
  expert_map map(static_cast<uint32_t>(room.size()), m.layers, m.experts);
  uint32_t layer = 0;
  for (auto n : order)
    for (uint32_t k = 0; k < takes[n]; ++k, ++layer)
      for (uint32_t e = 0; e < m.experts; ++e, --left[n])
        map.hosts[map.item(layer, e)] = only(n);
  uint32_t next = 0;
  for (size_t i = size_t{layer} * m.experts; i < map.hosts.size(); ++i) {
    while (next < left.size() && !left[next])
      ++next;
    if (next == left.size())
      return {};
    map.hosts[i] = only(next);
    --left[next];
  }
  return map;
}

} // namespace coel::policy
