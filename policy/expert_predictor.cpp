#include "policy/expert_predictor.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>

namespace coel::policy {

namespace {

constexpr float router_bias = -0.5f; ///< a little below the least that is chosen: half a chance
constexpr float judged_decay = 1.f / 1024;
constexpr float largest_gate = 4; ///< deviations; logits further off say no more

constexpr std::array<char, 8> magic{'C', 'O', 'E', 'L', 'P', 'R', 'E', 'D'};
constexpr uint32_t version = 2;

float logistic(float z) {
  return 1 / (1 + std::exp(-z));
}

/// How far each logit is above the one that is just chosen, in their standard deviation.
std::vector<float> margins(std::span<const float> logits, uint32_t top_k) {
  std::vector<float> out(logits.begin(), logits.end());
  auto n = static_cast<float>(out.size());
  float mean = 0, square = 0;
  for (float x : out) {
    mean += x / n;
    square += x * x / n;
  }
  float deviation = std::sqrt(std::max(square - mean * mean, 1e-12f));
  auto sorted = out;
  auto kth = sorted.begin() + (top_k - 1);
  std::nth_element(sorted.begin(), kth, sorted.end(), std::greater<>());
  for (auto& x : out)
    x = std::clamp((x - *kth) / deviation, -largest_gate, largest_gate);
  return out;
}

/// FNV-1a.
uint64_t checksum(std::span<const std::byte> bytes) {
  uint64_t h = 0xcbf29ce484222325u;
  for (auto b : bytes)
    h = (h ^ static_cast<uint8_t>(b)) * 0x100000001b3u;
  return h;
}

template <class T>
void put(std::vector<std::byte>& to, T x) {
  auto at = to.size();
  to.resize(at + sizeof x);
  std::memcpy(to.data() + at, &x, sizeof x);
}

template <class T>
T get(std::span<const std::byte>& from) {
  T x;
  std::memcpy(&x, from.data(), sizeof x);
  from = from.subspan(sizeof x);
  return x;
}

/// The `count` experts of largest value.
std::vector<uint16_t> largest(std::span<const float> values, uint32_t count) {
  std::vector<uint16_t> order(values.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = static_cast<uint16_t>(i);
  count = std::min<uint32_t>(count, static_cast<uint32_t>(order.size()));
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](auto a, auto b) {
    return values[a] != values[b] ? values[a] > values[b] : a < b;
  });
  order.resize(count);
  return order;
}

double share_found(const std::vector<uint16_t>& guess, std::span<const int32_t> chosen) {
  size_t found = 0;
  for (auto c : chosen)
    found += std::find(guess.begin(), guess.end(), static_cast<uint16_t>(c)) != guess.end();
  return static_cast<double>(found) / static_cast<double>(chosen.size());
}

void approach(double& mean, double value, uint64_t seen) {
  mean += (value - mean) * std::max<double>(judged_decay, 1.0 / static_cast<double>(seen));
}

} // namespace

route_history::route_history(const routing_shape& shape)
    : top_k_(shape.top_k),
      kept_(std::max<size_t>(shape.layers, expert_predictor::max_ahead + 1) + 1),
      ring_(kept_ * shape.top_k) {}

void route_history::chose(std::span<const int32_t> ids) {
  auto* to = ring_.data() + steps_ % kept_ * top_k_;
  for (uint32_t i = 0; i < top_k_; ++i)
    to[i] = static_cast<uint16_t>(ids[i]);
  ++steps_;
}

std::span<const uint16_t> route_history::last(uint32_t n) const {
  if (n >= kept_ || n >= steps_)
    return {};
  return {ring_.data() + (steps_ - 1 - n) % kept_ * top_k_, top_k_};
}

void expert_predictor::weight::step(float gradient, const pace& p) {
  g2 += gradient * gradient;
  w -= p.rate * gradient / std::sqrt(g2 + p.damping);
}

expert_predictor::expert_predictor(const routing_shape& shape)
    : shape_(shape), models_(size_t{shape.layers} * max_ahead) {
  size_t n = shape.experts;
  float prior = static_cast<float>(shape.top_k) / static_cast<float>(std::max(shape.experts, 1u));
  prior = std::clamp(prior, 0.001f, 0.999f);
  for (auto& m : models_) {
    m.bias.assign(n, {std::log(prior / (1 - prior)), 0});
    m.gate_bias.assign(n, {router_bias, 0});
    m.now.assign(n * n, {});
    m.before.assign(n * n, {});
    m.again.assign(n, {});
    m.frequency.assign(n, 0);
  }
}

expert_predictor::prediction expert_predictor::predict(layer_id layer, uint32_t ahead,
                                                       const route_history& history,
                                                       std::span<const float> gate_logits) const {
  const auto& m = at(layer, ahead);
  auto copy = [](std::span<const uint16_t> s) { return std::vector<uint16_t>(s.begin(), s.end()); };
  prediction p{layer, ahead, copy(history.last(0)), copy(history.last(1)), {}, {}, {}};
  if (shape_.layers >= ahead)
    p.again = copy(history.last(shape_.layers - ahead));
  size_t n = shape_.experts;
  if (gate_logits.size() == n)
    p.gate = margins(gate_logits, shape_.top_k);
  std::vector<float> z(n);
  for (size_t e = 0; e < n; ++e)
    z[e] = p.gate.empty() ? m.bias[e].w : m.gate_bias[e].w + m.gate.w * p.gate[e];
  for (auto i : p.now)
    for (size_t e = 0; e < n; ++e)
      z[e] += m.now[i * n + e].w;
  for (auto i : p.before)
    for (size_t e = 0; e < n; ++e)
      z[e] += m.before[i * n + e].w;
  for (auto e : p.again)
    z[e] += m.again[e].w;
  p.probability.resize(n);
  for (size_t e = 0; e < n; ++e)
    p.probability[e] = logistic(z[e]);
  return p;
}

void expert_predictor::judge(model& m, const prediction& p, std::span<const int32_t> chosen) const {
  auto& s = m.judged;
  ++s.seen;
  auto guess = largest(p.probability, 2 * shape_.top_k);
  approach(s.recall_of_double, share_found(guess, chosen), s.seen);
  guess.resize(std::min<size_t>(guess.size(), shape_.top_k));
  approach(s.recall, share_found(guess, chosen), s.seen);
  approach(s.recall_of_popular, share_found(largest(m.frequency, shape_.top_k), chosen), s.seen);
}

void expert_predictor::learn(const prediction& p, std::span<const int32_t> chosen) {
  auto& m = at(p.layer, p.ahead);
  judge(m, p, chosen);
  size_t n = shape_.experts;
  std::vector<float> error = p.probability;
  for (auto c : chosen)
    error[static_cast<size_t>(c)] -= 1;
  bool known = !p.gate.empty();
  constexpr pace alone{0.15f, 1e-6f};
  // Beside a router that knows the rare experts too, many small errors must not add up against
  // what is seldom chosen.
  constexpr pace beside_router{0.3f, 1.f};
  const auto& rate = known ? beside_router : alone;
  float gradient = 0;
  for (size_t e = 0; e < p.gate.size(); ++e)
    gradient += error[e] * p.gate[e];
  if (known)
    m.gate.step(gradient / static_cast<float>(n), alone);
  for (auto& f : m.frequency)
    f *= 1 - judged_decay;
  for (auto c : chosen)
    m.frequency[static_cast<size_t>(c)] += judged_decay;
  for (size_t e = 0; e < n; ++e)
    (known ? m.gate_bias : m.bias)[e].step(error[e], rate);
  for (auto i : p.now)
    for (size_t e = 0; e < n; ++e)
      m.now[i * n + e].step(error[e], rate);
  for (auto i : p.before)
    for (size_t e = 0; e < n; ++e)
      m.before[i * n + e].step(error[e], rate);
  for (auto e : p.again)
    m.again[e].step(error[e], rate);
}

uint64_t expert_predictor::bytes() const {
  uint64_t n = shape_.experts;
  return models_.size() * (sizeof(weight) * (2 * n * n + 3 * n + 1) + sizeof(float) * n);
}

template <class Model, class Visit>
void expert_predictor::each_weight(Model& m, Visit visit) {
  for (auto* table : {&m.bias, &m.gate_bias, &m.now, &m.before, &m.again})
    for (auto& w : *table) {
      visit(w.w);
      visit(w.g2);
    }
  visit(m.gate.w);
  visit(m.gate.g2);
  for (auto& f : m.frequency)
    visit(f);
}

std::vector<std::byte> expert_predictor::save() const {
  std::vector<std::byte> out;
  for (char c : magic)
    put(out, c);
  for (uint32_t x : {version, shape_.layers, shape_.experts, shape_.top_k})
    put(out, x);
  for (const auto& m : models_)
    each_weight(m, [&](float x) { put(out, x); });
  put(out, checksum(out));
  return out;
}

result<expert_predictor> expert_predictor::load(std::span<const std::byte> from,
                                                const routing_shape& shape) {
  auto refuse = [](const char* why) {
    return error{ec::bad_file, std::string("not a predictor of this model: ") + why};
  };
  expert_predictor made(shape);
  uint64_t n = shape.experts;
  uint64_t floats = made.models_.size() * (2 * (2 * n * n + 3 * n + 1) + n);
  constexpr size_t header = magic.size() + 4 * sizeof(uint32_t);
  if (from.size() != header + floats * sizeof(float) + sizeof(uint64_t))
    return refuse("it is of another length");
  if (std::memcmp(from.data(), magic.data(), magic.size()) != 0)
    return refuse("it does not begin with COELPRED");
  auto tail = from.last(sizeof(uint64_t));
  if (get<uint64_t>(tail) != checksum(from.first(from.size() - sizeof(uint64_t))))
    return refuse("its checksum is wrong");
  auto rest = from.subspan(magic.size());
  for (uint32_t x : {version, shape.layers, shape.experts, shape.top_k})
    if (get<uint32_t>(rest) != x)
      return refuse("its version or shape is another");
  bool finite = true;
  for (auto& m : made.models_)
    each_weight(m, [&](float& x) {
      x = get<float>(rest);
      finite = finite && std::isfinite(x);
    });
  if (!finite)
    return refuse("it holds no numbers");
  return made;
}

std::vector<float> any_of(const std::vector<expert_predictor::prediction>& rows) {
  std::vector<float> none;
  for (const auto& r : rows) {
    none.resize(r.probability.size(), 1.f);
    for (size_t e = 0; e < none.size(); ++e)
      none[e] *= 1 - r.probability[e];
  }
  for (auto& x : none)
    x = 1 - x;
  return none;
}

} // namespace coel::policy
