#include "policy/placement_candidates.hpp"

#include "policy/assignment.hpp"
#include "policy/transport.hpp"

#include <algorithm>
#include <numeric>

namespace coel::policy {

namespace {

/// Shares of `total` in proportion to room, none above it; largest remainders get the rest.
std::vector<uint64_t> base_shares(const std::vector<uint64_t>& room, uint64_t total) {
  auto all = std::accumulate(room.begin(), room.end(), uint64_t{0});
  std::vector<uint64_t> out;
  std::vector<size_t> order(room.size());
  std::iota(order.begin(), order.end(), size_t{0});
  uint64_t given = 0;
  for (auto r : room)
    given += out.emplace_back(all ? r * total / all : 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return room[a] * total % std::max<uint64_t>(all, 1) >
           room[b] * total % std::max<uint64_t>(all, 1);
  });
  for (size_t i = 0, idle = 0; given < total && idle < room.size(); ++i) {
    auto n = order[i % order.size()];
    idle = out[n] < room[n] ? 0 : idle + 1;
    if (out[n] < room[n]) {
      ++out[n];
      ++given;
    }
  }
  return out;
}

/// One assignment of a layer within its quotas.
template <class Profit>
std::vector<uint32_t> assign_layer(const candidate_inputs& in, std::span<const uint32_t> quota,
                                   Profit profit) {
  std::vector<double> table(size_t{in.experts} * in.nodes);
  for (uint32_t e = 0; e < in.experts; ++e)
    for (uint32_t s = 0; s < in.nodes; ++s)
      table[size_t{e} * in.nodes + s] = profit(e, s);
  return transport({in.experts, in.nodes, table, quota});
}

expert_map map_of(const candidate_inputs& in, const std::vector<std::vector<uint32_t>>& owner) {
  expert_map map(in.nodes, in.layers, in.experts);
  for (uint32_t l = 0; l < in.layers; ++l)
    for (uint32_t e = 0; e < in.experts; ++e)
      if (owner[l][e] < in.nodes)
        map.hosts[map.item(l, e)] = only(owner[l][e]);
  return map;
}

std::vector<std::vector<uint32_t>> owners_by_popularity(const candidate_inputs& in) {
  auto quota = layer_quotas(in);
  std::vector<std::vector<uint32_t>> owner;
  for (uint32_t l = 0; l < in.layers; ++l)
    owner.push_back(assign_layer(in, quota[l], [&](uint32_t e, uint32_t s) {
      return in.weight[s] * in.popularity[s][size_t{l} * in.experts + e];
    }));
  return owner;
}

} // namespace

candidate_inputs make_inputs(const home_traffic& traffic, std::vector<uint64_t> room) {
  const auto& shape = traffic.trace.shape;
  auto nodes = static_cast<uint32_t>(room.size());
  candidate_inputs in{nodes, shape.layers, shape.experts,          std::move(room), traffic.weight,
                      {},    {},           coactivation(shape, 0), &traffic};
  in.popularity.assign(nodes, std::vector<double>(in.items()));
  std::vector<double> tokens(nodes);
  for (auto h : traffic.home)
    tokens[h] += 1;
  for (size_t t = 0; t < traffic.trace.tokens(); ++t) {
    auto h = traffic.home[t];
    in.pairs.add(traffic.trace.path(t), traffic.weight[h] / tokens[h]);
    for (uint32_t l = 0; l < shape.layers; ++l)
      for (auto e : traffic.trace.at(t, l))
        in.popularity[h][size_t{l} * shape.experts + e] += 1 / tokens[h];
  }
  in.common = in.pairs.popularity();
  return in;
}

std::vector<std::vector<uint32_t>> layer_quotas(const candidate_inputs& in) {
  auto left = base_shares(in.room, in.items());
  std::vector<std::vector<uint32_t>> out(in.layers, std::vector<uint32_t>(in.nodes));
  for (uint32_t l = 0; l < in.layers; ++l) {
    uint64_t layers_left = in.layers - l, given = 0;
    std::vector<size_t> order(in.nodes);
    std::iota(order.begin(), order.end(), size_t{0});
    for (uint32_t s = 0; s < in.nodes; ++s)
      given += out[l][s] = static_cast<uint32_t>(left[s] / layers_left);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return left[a] % layers_left > left[b] % layers_left;
    });
    for (size_t i = 0; given < in.experts && i < order.size(); ++i)
      if (auto s = order[i]; out[l][s] < left[s]) {
        ++out[l][s];
        ++given;
      }
    for (uint32_t s = 0; s < in.nodes; ++s)
      left[s] -= out[l][s];
  }
  return out;
}

expert_map place_random(const candidate_inputs& in, std::mt19937_64& random) {
  expert_map map(in.nodes, in.layers, in.experts);
  std::vector<uint32_t> owner;
  auto share = base_shares(in.room, in.items());
  for (uint32_t s = 0; s < in.nodes; ++s)
    owner.insert(owner.end(), share[s], s);
  auto shuffle = [&](auto& v) {
    for (size_t i = v.size(); i > 1; --i)
      std::swap(v[i - 1], v[random() % i]);
  };
  shuffle(owner);
  for (size_t i = 0; i < owner.size(); ++i)
    map.hosts[i] = only(owner[i]);
  for (uint32_t s = 0; s < in.nodes; ++s) {
    std::vector<size_t> absent;
    for (size_t i = 0; i < map.hosts.size(); ++i)
      if (!map.holds(s, i))
        absent.push_back(i);
    shuffle(absent);
    absent.resize(std::min<size_t>(absent.size(), in.room[s] - map.count(s)));
    for (auto i : absent)
      map.hosts[i] |= only(s);
  }
  return map;
}

expert_map place_rendezvous(const candidate_inputs& in, std::span<const std::string> keys) {
  std::vector<holder> holders;
  for (uint32_t s = 0; s < in.nodes; ++s)
    holders.push_back({keys[s], in.room[s]});
  auto plan = assign({in.layers, in.experts, holders, in.common});
  expert_map map(in.nodes, in.layers, in.experts);
  for (uint32_t s = 0; s < in.nodes; ++s)
    for (size_t i = 0; i < map.hosts.size(); ++i)
      if (plan.plan[s].test(i))
        map.hosts[i] |= only(s);
  return map;
}

expert_map place_popularity(const candidate_inputs& in) {
  auto map = map_of(in, owners_by_popularity(in));
  add_replicas(in, map, true);
  return map;
}

expert_map place_sweep(const candidate_inputs& in, uint32_t passes) {
  auto quota = layer_quotas(in);
  auto owner = owners_by_popularity(in);
  const auto& p = in.pairs;
  auto resolve = [&](uint32_t l) {
    std::vector<double> table(size_t{in.experts} * in.nodes);
    for (uint32_t e = 0; e < in.experts; ++e) {
      size_t item = size_t{l} * in.experts + e;
      auto* row = table.data() + size_t{e} * in.nodes;
      for (uint32_t s = 0; s < in.nodes; ++s)
        row[s] = in.weight[s] * (in.popularity[s][item] - in.common[item]);
      for (uint32_t i = 0; i < in.experts; ++i) { // more often together than chance would have it
        if (l > 0)
          row[owner[l - 1][i]] +=
              p.next_layer(l - 1, i, e) - p.popularity(l - 1, i) * in.common[item];
        if (l + 1 < in.layers)
          row[owner[l + 1][i]] += p.next_layer(l, e, i) - p.popularity(l + 1, i) * in.common[item];
        if (i != e)
          row[owner[l][i]] += 0.5 * (p.same_layer(l, e, i) - p.popularity(l, i) * in.common[item]);
      }
    }
    owner[l] = transport({in.experts, in.nodes, table, quota[l]});
  };
  for (uint32_t pass = 0; pass < passes; ++pass)
    for (uint32_t i = 0; i < in.layers; ++i)
      resolve(pass % 2 ? in.layers - 1 - i : i);
  auto map = map_of(in, owner);
  add_replicas(in, map, true);
  return map;
}

void leave_least_used(expert_map& map, const std::vector<double>& use, uint32_t slices) {
  auto worth = [&](size_t i) { return i % map.experts + slices >= map.experts ? 1e300 : use[i]; };
  std::vector<size_t> nobodys, held;
  for (size_t i = 0; i < map.hosts.size(); ++i)
    if (!map.hosts[i])
      nobodys.push_back(i);
    else if (std::has_single_bit(map.hosts[i]))
      held.push_back(i);
  std::stable_sort(nobodys.begin(), nobodys.end(),
                   [&](size_t a, size_t b) { return worth(a) > worth(b); });
  std::stable_sort(held.begin(), held.end(),
                   [&](size_t a, size_t b) { return worth(a) < worth(b); });
  for (size_t n = 0; n < std::min(nobodys.size(), held.size()); ++n)
    if (worth(nobodys[n]) > worth(held[n]))
      std::swap(map.hosts[nobodys[n]], map.hosts[held[n]]);
}

expert_map place_layers(const candidate_inputs& in) {
  expert_map map(in.nodes, in.layers, in.experts);
  auto share = base_shares(in.room, in.items());
  size_t item = 0;
  for (uint32_t s = 0; s < in.nodes; ++s)
    for (uint64_t n = 0; n < share[s]; ++n)
      map.hosts[item++] = only(s);
  for (uint32_t s = 0; s < in.nodes; ++s) {
    std::vector<uint32_t> have(in.layers), order(in.layers);
    std::iota(order.begin(), order.end(), 0u);
    for (size_t i = 0; i < map.hosts.size(); ++i)
      have[i / in.experts] += map.holds(s, i);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return have[a] > have[b]; });
    uint64_t left = in.room[s] - map.count(s);
    for (auto l : order) {
      std::vector<size_t> absent;
      for (uint32_t e = 0; e < in.experts; ++e)
        if (!map.holds(s, map.item(l, e)))
          absent.push_back(map.item(l, e));
      std::stable_sort(absent.begin(), absent.end(),
                       [&](size_t a, size_t b) { return in.wanted(s, a) > in.wanted(s, b); });
      absent.resize(std::min<uint64_t>(absent.size(), left));
      for (auto i : absent)
        map.hosts[i] |= only(s);
      left -= absent.size();
    }
  }
  return map;
}

} // namespace coel::policy
