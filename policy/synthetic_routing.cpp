#include "policy/synthetic_routing.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace coel::policy {

/// The same numbers on every machine; std distributions differ between libraries.
struct noise {
  explicit noise(uint64_t seed) : random(seed) {}
  double unit() { return static_cast<double>(random() >> 11) * 0x1p-53; }
  /// Nearly normal: the sum of four uniform numbers, scaled to variance 1.
  float normal() {
    uint64_t x = random();
    auto sum = static_cast<double>((x & 0xffff) + (x >> 16 & 0xffff) + (x >> 32 & 0xffff) +
                                   (x >> 48 & 0xffff));
    return static_cast<float>((sum / 65536 - 2) * std::sqrt(3.0));
  }
  std::mt19937_64 random;
};

namespace {

struct regime_values {
  double persistence; ///< of the topic from layer to layer
  double scale;       ///< of the logits
  double domain, topic, context;
  double skew;
  double jitter;
};

regime_values values_of(routing_regime r) {
  switch (r) {
  case routing_regime::weak:
    return {0.60, 0.9, 0.10, 0.60, 0.30, 0.25, 0.6};
  case routing_regime::medium:
    return {0.88, 1.2, 0.30, 0.40, 0.30, 0.40, 0.4};
  case routing_regime::strong:
    break;
  }
  return {0.96, 1.6, 0.50, 0.25, 0.25, 0.60, 0.3};
}

constexpr std::string_view names[] = {"weak", "medium", "strong"};

/// Zipf, mostly in an order of the domain's own.
std::vector<double> topic_shares(uint32_t domains, uint32_t topics, noise& random) {
  std::vector<double> zipf(topics), all;
  for (uint32_t i = 0; i < topics; ++i)
    zipf[i] = std::pow(i + 1, -0.9);
  for (uint32_t d = 0; d < domains; ++d) {
    auto own = zipf;
    for (uint32_t i = topics - 1; i > 0; --i)
      std::swap(own[i], own[random.random() % (i + 1)]);
    double sum = 0;
    for (uint32_t i = 0; i < topics; ++i)
      all.push_back(sum += own[i] + 0.5 * zipf[i]);
  }
  return all;
}

void top(std::span<const float> logits, uint32_t k, std::vector<uint16_t>& order) {
  order.resize(logits.size());
  std::iota(order.begin(), order.end(), uint16_t{0});
  std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](auto a, auto b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
}

} // namespace

std::string_view to_string(routing_regime regime) {
  return names[static_cast<size_t>(regime)];
}

std::optional<routing_regime> regime_from_name(std::string_view name) {
  for (size_t i = 0; i < std::size(names); ++i)
    if (names[i] == name)
      return static_cast<routing_regime>(i);
  return {};
}

synthetic_routing::synthetic_routing(const synthetic_options& options)
    : options_(options), skew_(options.skew < 0 ? values_of(options.regime).skew : options.skew) {
  noise random(options.seed);
  size_t items = size_t{options.shape.layers} * options.shape.experts;
  gates_.resize(items * rank);
  for (size_t i = 0; i < items; ++i) {
    double square = 0;
    for (uint32_t d = 0; d < rank; ++d) {
      float x = gates_[i * rank + d] = random.normal();
      square += double{x} * x;
    }
    for (uint32_t d = 0; d < rank; ++d)
      gates_[i * rank + d] /= static_cast<float>(std::sqrt(square));
  }
  auto fill = [&](std::vector<float>& v, size_t n, double scale) {
    v.resize(n);
    for (auto& x : v)
      x = static_cast<float>(scale) * random.normal();
  };
  fill(bias_, items, skew_);
  fill(domain_mean_, size_t{options.domains} * rank, 1);
  fill(topic_mean_, size_t{topics} * rank, 1);
  topic_share_ = topic_shares(options.domains, topics, random);
}

void synthetic_routing::add_session(routing_trace& out, uint32_t session, uint32_t domain,
                                    uint32_t tokens, noise& random) const {
  auto v = values_of(options_.regime);
  const auto& s = options_.shape;
  auto fresh = static_cast<float>(std::sqrt(1 - v.persistence * v.persistence));
  auto wd = static_cast<float>(std::sqrt(v.domain)), wt = static_cast<float>(std::sqrt(v.topic)),
       wc = static_cast<float>(std::sqrt(v.context));
  const auto* shares = topic_share_.data() + size_t{domain} * topics;
  std::vector<float> context(rank), h(rank), logits(s.experts);
  std::vector<uint16_t> order, path;
  for (auto& x : context)
    x = random.normal();
  for (uint32_t t = 0; t < tokens; ++t) {
    double draw = random.unit() * shares[topics - 1];
    auto topic = static_cast<size_t>(std::upper_bound(shares, shares + topics, draw) - shares);
    topic = std::min<size_t>(topic, topics - 1);
    for (uint32_t d = 0; d < rank; ++d) {
      context[d] = 0.9f * context[d] + 0.43589f * random.normal();
      h[d] = wd * domain_mean_[domain * rank + d] + wt * topic_mean_[topic * rank + d] +
             wc * context[d];
    }
    path.clear();
    for (uint32_t l = 0; l < s.layers; ++l) {
      for (uint32_t e = 0; e < s.experts; ++e) {
        const float* gate = gates_.data() + (size_t{l} * s.experts + e) * rank;
        float dot = 0;
        for (uint32_t d = 0; d < rank; ++d)
          dot += gate[d] * h[d];
        logits[e] = static_cast<float>(v.scale) * dot + bias_[size_t{l} * s.experts + e] +
                    static_cast<float>(v.jitter) * random.normal();
      }
      top(logits, s.top_k, order);
      path.insert(path.end(), order.begin(), order.begin() + s.top_k);
      for (auto& x : h)
        x = static_cast<float>(v.persistence) * x + fresh * random.normal();
    }
    out.append(path, session);
  }
}

routing_trace synthetic_routing::trace(uint32_t sessions, uint32_t tokens,
                                       std::span<const uint32_t> domains, uint64_t seed) const {
  routing_trace out{options_.shape, {}, {}};
  noise random(seed * 0x9e3779b97f4a7c15ull + options_.seed);
  for (uint32_t i = 0; i < sessions; ++i) {
    auto draw = random.random();
    auto domain = domains.empty() ? static_cast<uint32_t>(draw % options_.domains)
                                  : domains[draw % domains.size()] % options_.domains;
    add_session(out, i, domain, tokens, random);
  }
  return out;
}

} // namespace coel::policy
