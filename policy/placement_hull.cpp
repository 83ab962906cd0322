// Room along concave hulls, coverage repaired, replicas. See placement_candidates.hpp.
#include "policy/placement_candidates.hpp"

#include <algorithm>
#include <bit>
#include <numeric>

namespace coel::policy {

namespace {

/// Experts of one layer by falling popularity, and what the first m of them are worth.
struct layer_curve {
  std::vector<uint32_t> order;
  std::vector<double> worth; // [experts + 1]
};

layer_curve curve_of(const candidate_inputs& in, const expert_map& map, uint32_t home, uint32_t l,
                     double before) {
  layer_curve out{std::vector<uint32_t>(in.experts), std::vector<double>(in.experts + 1)};
  std::iota(out.order.begin(), out.order.end(), 0u);
  std::stable_sort(out.order.begin(), out.order.end(), [&](uint32_t a, uint32_t b) {
    return in.wanted(home, size_t{l} * in.experts + a) >
           in.wanted(home, size_t{l} * in.experts + b);
  });
  std::vector<uint32_t> rank(in.experts);
  for (uint32_t i = 0; i < in.experts; ++i)
    rank[out.order[i]] = i;
  const auto& t = *in.traffic;
  double tokens = 0;
  for (size_t n = 0; n < t.trace.tokens(); ++n) {
    if (t.home[n] != home)
      continue;
    uint32_t last = 0;
    for (auto e : t.trace.at(n, l))
      last = std::max(last, rank[e]);
    out.worth[last + 1] += 1;
    tokens += 1;
  }
  // What nobody has yet is worth a little by itself: it must be somewhere.
  double fresh = 0, all_fresh = 0, sum = 0;
  for (uint32_t e = 0; e < in.experts; ++e)
    all_fresh += map.hosts[map.item(l, e)] == 0;
  for (uint32_t m = 1; m <= in.experts; ++m) {
    sum += tokens > 0 ? out.worth[m] / tokens : 0;
    fresh += map.hosts[map.item(l, out.order[m - 1])] == 0;
    out.worth[m] = sum + 0.15 * fresh / in.experts * (1 - before) +
                   (before > 0 ? 0.5 : 0.0) * all_fresh / in.experts * m / in.experts;
  }
  return out;
}

struct segment {
  double slope;
  uint32_t layer, from, to;
};

/// How many experts of each layer, the steepest pieces of the hulls first.
std::vector<uint32_t> spend(const std::vector<layer_curve>& curves, uint32_t experts,
                            uint64_t room) {
  std::vector<segment> all;
  for (uint32_t l = 0; l < curves.size(); ++l)
    for (uint32_t i = 0; i < experts;) {
      segment best{-1, l, i, i + 1};
      for (uint32_t j = i + 1; j <= experts; ++j)
        if (double s = (curves[l].worth[j] - curves[l].worth[i]) / (j - i); s > best.slope)
          best = {s, l, i, j};
      all.push_back(best);
      i = best.to;
    }
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.slope > b.slope; });
  std::vector<uint32_t> taken(curves.size());
  for (const auto& s : all)
    if (taken[s.layer] == s.from) {
      auto n = static_cast<uint32_t>(std::min<uint64_t>(s.to - s.from, room));
      taken[s.layer] += n;
      room -= n;
    }
  return taken;
}

std::vector<uint64_t> free_room(const candidate_inputs& in, const expert_map& map) {
  std::vector<uint64_t> out;
  for (uint32_t s = 0; s < in.nodes; ++s)
    out.push_back(in.room[s] - std::min(in.room[s], map.count(s)));
  return out;
}

} // namespace

void repair_coverage(const candidate_inputs& in, expert_map& map) {
  auto left = free_room(in, map);
  std::vector<size_t> missing;
  for (size_t i = 0; i < map.hosts.size(); ++i)
    if (!map.hosts[i])
      missing.push_back(i);
  std::stable_sort(missing.begin(), missing.end(),
                   [&](size_t a, size_t b) { return in.common[a] > in.common[b]; });
  struct replica {
    double worth;
    uint32_t node;
    size_t item;
  };
  std::vector<replica> replicas; // least useful last; made when free room is gone
  for (auto i : missing) {
    uint32_t best = in.nodes;
    for (uint32_t s = 0; s < in.nodes; ++s)
      if (left[s] &&
          (best == in.nodes || in.wanted(s, i) + 1e-6 * static_cast<double>(left[s]) >
                                   in.wanted(best, i) + 1e-6 * static_cast<double>(left[best])))
        best = s;
    if (best < in.nodes) {
      map.hosts[i] = only(best);
      --left[best];
      continue;
    }
    if (replicas.empty()) {
      for (size_t j = 0; j < map.hosts.size(); ++j)
        if (std::popcount(map.hosts[j]) > 1)
          for (uint32_t s = 0; s < in.nodes; ++s)
            if (map.holds(s, j))
              replicas.push_back({in.wanted(s, j), s, j});
      std::stable_sort(replicas.begin(), replicas.end(),
                       [](const auto& a, const auto& b) { return a.worth > b.worth; });
    }
    while (!replicas.empty()) {
      auto r = replicas.back();
      replicas.pop_back();
      if (std::popcount(map.hosts[r.item]) < 2)
        continue; // the other copy went already
      map.hosts[r.item] &= ~only(r.node);
      map.hosts[i] = only(r.node);
      break;
    }
  }
}

void add_replicas(const candidate_inputs& in, expert_map& map, bool by_layer) {
  auto left = free_room(in, map);
  for (uint32_t s = 0; s < in.nodes; ++s) {
    std::vector<uint32_t> have(in.layers);
    std::vector<size_t> absent;
    for (size_t i = 0; i < map.hosts.size(); ++i)
      if (map.holds(s, i))
        ++have[i / in.experts];
      else
        absent.push_back(i);
    std::stable_sort(absent.begin(), absent.end(),
                     [&](size_t a, size_t b) { return in.wanted(s, a) > in.wanted(s, b); });
    auto take = [&](auto may) {
      for (auto& i : absent)
        if (left[s] && !map.holds(s, i) && may(static_cast<uint32_t>(i / in.experts))) {
          map.hosts[i] |= only(s);
          ++have[i / in.experts];
          --left[s];
        }
    };
    if (by_layer)
      take([&](uint32_t l) { return have[l] < in.room[s] / in.layers; });
    uint64_t whole = in.room[s] / in.layers + 1; // what does not divide evenly
    take([&](uint32_t l) { return !by_layer || have[l] < whole; });
  }
}

expert_map place_hull(const candidate_inputs& in) {
  expert_map map(in.nodes, in.layers, in.experts);
  std::vector<uint32_t> order(in.nodes);
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return in.weight[a] > in.weight[b]; });
  for (uint32_t rank = 0; rank < in.nodes; ++rank) {
    uint32_t s = order[rank];
    if (in.weight[s] <= 0)
      continue; // helpers take what is left over
    std::vector<layer_curve> curves;
    for (uint32_t l = 0; l < in.layers; ++l)
      curves.push_back(curve_of(in, map, s, l, static_cast<double>(rank) / in.nodes));
    auto taken = spend(curves, in.experts, in.room[s]);
    for (uint32_t l = 0; l < in.layers; ++l)
      for (uint32_t m = 0; m < taken[l]; ++m)
        map.hosts[map.item(l, curves[l].order[m])] |= only(s);
  }
  // The rest whole layers at a time, so that a token needs few helpers.
  auto left = free_room(in, map);
  for (uint32_t s : order)
    for (size_t i = 0; i < map.hosts.size() && in.weight[s] <= 0 && left[s]; ++i)
      if (!map.hosts[i]) {
        map.hosts[i] = only(s);
        --left[s];
      }
  repair_coverage(in, map);
  add_replicas(in, map, false);
  return map;
}

} // namespace coel::policy
