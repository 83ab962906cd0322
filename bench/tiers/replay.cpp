#include "bench/tiers/replay.hpp"

#include "policy/expert_cache.hpp"

#include <algorithm>
#include <map>

namespace coel::bench {

namespace {

using policy::expert_predictor;

std::vector<policy::routed_step> steps_of(const recording& r) {
  std::vector<policy::routed_step> steps;
  steps.reserve(r.tokens() * r.shape.layers);
  for (size_t t = 0; t < r.tokens(); ++t)
    for (uint32_t l = 0; l < r.shape.layers; ++l) {
      policy::routed_step s{static_cast<layer_id>(l), {}, 1};
      for (uint32_t k = 0; k < r.shape.top_k; ++k)
        s.used.push_back({static_cast<expert_id>(r.chosen(t, l)[k]), 1});
      steps.push_back(std::move(s));
    }
  return steps;
}

bool uses(const policy::routed_step& s, expert_key key) {
  return key.layer == s.layer && std::any_of(s.used.begin(), s.used.end(),
                                             [&](const auto& u) { return u.expert == key.expert; });
}

/// One layer step: what was there, and what comes in for what was not.
size_t step_through(policy::expert_cache& cache, const policy::routed_step& s) {
  cache.routed(s.layer, s.used, s.tokens);
  size_t hits = 0;
  for (const auto& u : s.used) {
    expert_key key{s.layer, u.expert};
    if (cache.holds(key)) {
      ++hits;
      continue;
    }
    auto d = cache.decide(key, 1, [&](expert_key v) { return uses(s, v); });
    for (auto v : d.victims)
      cache.erase(v);
    if (d.admit)
      cache.insert(key, 1);
  }
  return hits;
}

std::span<const float> gate_of(const recording& r, features which, size_t t, uint32_t l,
                               uint32_t ahead) {
  const float* g = which == features::history ? nullptr : r.gate(t, l, ahead);
  return g ? std::span<const float>(g, r.shape.experts) : std::span<const float>{};
}

std::vector<int32_t> wide(const uint16_t* ids, uint32_t count) {
  return {ids, ids + count};
}

/// Calls `judge(token, layer, ahead, prediction)` for every step when its layer is about to be
/// routed, then learns.
template <class Judge>
void predict_all(const recording& r, features which, uint32_t most_ahead, Judge judge) {
  expert_predictor predictor(r.shape);
  policy::route_history history(r.shape), nothing(r.shape);
  std::map<size_t, std::vector<expert_predictor::prediction>> open; // by step
  size_t layers = r.shape.layers;
  for (size_t step = 0; step < r.tokens() * layers; ++step) {
    size_t t = step / layers;
    auto l = static_cast<uint32_t>(step % layers);
    auto chosen = wide(r.chosen(t, l), r.shape.top_k);
    for (auto& p : open[step]) {
      judge(t, l, p.ahead, p);
      predictor.learn(p, chosen);
    }
    open.erase(step);
    history.chose(chosen);
    for (uint32_t ahead = 1; ahead <= most_ahead; ++ahead) {
      size_t target = step + ahead;
      auto tl = static_cast<uint32_t>(target % layers);
      if (target >= r.tokens() * layers)
        continue;
      auto gate = gate_of(r, which, target / layers, tl, ahead);
      if (which == features::gate && gate.empty())
        continue; // of the next token's layers only its history is known
      open[target].push_back(predictor.predict(static_cast<layer_id>(tl), ahead,
                                               which == features::gate ? nothing : history, gate));
    }
  }
}

std::vector<uint16_t> most_probable(const std::vector<float>& p, size_t count) {
  std::vector<uint16_t> order(p.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = static_cast<uint16_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return p[a] > p[b]; });
  order.resize(std::min(order.size(), count));
  return order;
}

double found_in(const std::vector<uint16_t>& guess, const uint16_t* chosen, uint32_t k) {
  double n = 0;
  for (uint32_t i = 0; i < k; ++i)
    n += std::find(guess.begin(), guess.end(), chosen[i]) != guess.end();
  return n / k;
}

} // namespace

double hit_rate(const recording& r, const make_rule& rule, uint64_t capacity) {
  policy::cache_shape shape{r.shape.layers, r.shape.experts};
  auto steps = steps_of(r);
  policy::expert_cache cache(shape, capacity, rule(shape, steps));
  size_t hits = 0, all = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    auto h = step_through(cache, steps[i]);
    if (i >= steps.size() / 2) {
      hits += h;
      all += steps[i].used.size();
    }
  }
  return all ? static_cast<double>(hits) / static_cast<double>(all) : 0;
}

recall_rows recalls(const recording& r, features which) {
  constexpr auto most = expert_predictor::max_ahead;
  recall_rows all{std::vector<recall_row>(most), std::vector<recall_row>(most)};
  // The most frequent ones so far, to compare with.
  std::vector<std::vector<float>> frequency(r.shape.layers, std::vector<float>(r.shape.experts));
  predict_all(
      r, which, expert_predictor::max_ahead,
      [&](size_t t, uint32_t l, uint32_t ahead, const auto& p) {
        const auto* chosen = r.chosen(t, l);
        if (ahead == 1)
          for (uint32_t k = 0; k < r.shape.top_k; ++k)
            ++frequency[l][chosen[k]];
        if (t < r.tokens() / 2)
          return;
        auto& row = (l < ahead ? all.next_token : all.same_token)[ahead - 1];
        ++row.seen;
        row.recall += found_in(most_probable(p.probability, r.shape.top_k), chosen, r.shape.top_k);
        row.recall_of_double +=
            found_in(most_probable(p.probability, 2 * r.shape.top_k), chosen, r.shape.top_k);
        row.popular += found_in(most_probable(frequency[l], r.shape.top_k), chosen, r.shape.top_k);
      });
  for (auto* rows : {&all.same_token, &all.next_token})
    for (auto& row : *rows)
      if (row.seen) {
        auto n = static_cast<double>(row.seen);
        row.recall /= n;
        row.recall_of_double /= n;
        row.popular /= n;
      }
  return all;
}

ahead_row read_ahead(const recording& r, features which, uint32_t ahead, double threshold,
                     uint64_t capacity) {
  policy::cache_shape shape{r.shape.layers, r.shape.experts};
  policy::expert_cache cache(shape, capacity, policy::activation_aware(shape));
  auto steps = steps_of(r);
  std::map<size_t, std::vector<uint16_t>> brought; // by step
  size_t hits = 0, found = 0, all = 0, wasted = 0;
  size_t stepped = 0;
  auto run_until = [&](size_t step) { // caches see each step once, after what was predicted for it
    for (; stepped <= step; ++stepped) {
      const auto& s = steps[stepped];
      const auto& extra = brought[stepped];
      bool counts = stepped >= steps.size() / 2;
      for (const auto& u : s.used) {
        expert_key key{s.layer, u.expert};
        bool here = cache.holds(key);
        bool came = std::find(extra.begin(), extra.end(), index(u.expert)) != extra.end();
        hits += counts && here;
        found += counts && (here || came);
        all += counts;
      }
      for (auto e : extra)
        wasted += counts && !uses(s, {s.layer, static_cast<expert_id>(e)});
      brought.erase(stepped);
      step_through(cache, s);
    }
  };
  predict_all(r, which, ahead, [&](size_t t, uint32_t l, uint32_t at, const auto& p) {
    if (at != ahead)
      return;
    size_t step = t * r.shape.layers + l;
    // Held when it was predicted: the cache of `ahead` steps before.
    run_until(step - ahead);
    for (uint32_t e = 0; e < r.shape.experts; ++e)
      if (p.probability[e] >= threshold &&
          !cache.holds({static_cast<layer_id>(l), static_cast<expert_id>(e)}))
        brought[step].push_back(static_cast<uint16_t>(e));
  });
  run_until(steps.size() - 1);
  auto n = static_cast<double>(std::max<size_t>(all, 1));
  auto missed = static_cast<double>(std::max<size_t>(all - hits, 1));
  return {static_cast<double>(hits) / n, static_cast<double>(found) / n,
          static_cast<double>(wasted) / missed};
}

} // namespace coel::bench
