#include "model/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace coel::model {

namespace {

using candidate = std::pair<float, int32_t>;
using candidates = std::vector<candidate>;

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

float usable(float logit) {
  return std::isnan(logit) ? minus_infinity : logit;
}

/// Falling by logit; equal logits by rising id, so that a draw does not depend on the sort.
bool before(const candidate& a, const candidate& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

/// exp(x - max) that also holds where both are infinite.
double weight(float x, float max) {
  return x == max ? 1.0 : std::exp(static_cast<double>(x) - static_cast<double>(max));
}

/// What softmax subtracts: log softmax(x) = x - max - log_sum.
struct normaliser {
  float max = minus_infinity;
  double log_sum = 0;

  explicit normaliser(std::span<const float> logits) {
    for (auto x : logits)
      max = std::max(max, usable(x));
    double sum = 0; // of floats: half the time, and their rounding is lost in the sum
    for (auto x : logits)
      sum += usable(x) == max ? 1.f : std::exp(usable(x) - max);
    log_sum = std::log(sum);
  }

  float log_softmax(float logit) const {
    const auto x = usable(logit);
    const auto distance = x == max ? 0.0 : static_cast<double>(x) - static_cast<double>(max);
    return static_cast<float>(distance - log_sum);
  }
};

void fill(candidates& out, std::span<const float> logits) {
  out.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    out[i] = {usable(logits[i]), static_cast<int32_t>(i)};
}

/// Keskar et al., arXiv 1909.05858, section 4.1; negative logits are multiplied, so that the
/// penalty lowers them too. Each token counts once however often it occurred.
void penalise(candidates& all, std::span<const int32_t> recent, float penalty) {
  std::vector<int32_t> seen(recent.begin(), recent.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (auto id : seen) {
    if (id < 0 || static_cast<size_t>(id) >= all.size())
      continue;
    auto& logit = all[static_cast<size_t>(id)].first;
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

void keep_top(candidates& all, size_t count) {
  if (count < all.size()) {
    std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count), all.end(),
                     before);
    all.resize(count);
  }
  std::sort(all.begin(), all.end(), before);
}

/// Nucleus sampling, arXiv 1904.09751: the fewest of the most likely whose probabilities reach `p`.
void keep_nucleus(candidates& sorted, float p) {
  double total = 0;
  for (const auto& c : sorted)
    total += weight(c.first, sorted.front().first);
  double reached = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    reached += weight(sorted[i].first, sorted.front().first);
    if (reached >= static_cast<double>(p) * total)
      return sorted.resize(i + 1);
  }
}

/// arXiv 2407.01082: those at least `p` times as likely as the most likely one.
void keep_likely(candidates& sorted, float p) {
  const auto best = sorted.front().first;
  const auto last = std::partition_point(sorted.begin(), sorted.end(), [&](const candidate& c) {
    return weight(c.first, best) >= static_cast<double>(p);
  });
  sorted.erase(std::max(last, sorted.begin() + 1), sorted.end());
}

/// SplitMix64's finaliser (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
/// 2014).
uint64_t mixed(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

/// The chance of draw `n` in [0, 1): SplitMix64, whose n-th value needs none of those before it.
/// The seed is mixed first, or the values of seeds that differ by the step would be the same,
/// shifted.
double chance(uint64_t seed, uint64_t n) {
  constexpr uint64_t step = 0x9e3779b97f4a7c15;
  return static_cast<double>(mixed(mixed(seed + step) + (n + 1) * step) >> 11) * 0x1.0p-53;
}

/// `u` in [0, 1) picks from softmax(logits / temperature).
int32_t pick(const candidates& sorted, float temperature, double u) {
  const auto best = sorted.front().first;
  std::vector<double> reached;
  reached.reserve(sorted.size());
  double total = 0;
  for (const auto& c : sorted) {
    const auto log_weight = std::log(weight(c.first, best)) / static_cast<double>(temperature);
    reached.push_back(total += std::exp(log_weight));
  }
  const auto at = std::upper_bound(reached.begin(), reached.end(), u * total);
  return sorted[std::min<size_t>(static_cast<size_t>(at - reached.begin()), sorted.size() - 1)]
      .second;
}

/// The first of the largest.
int32_t greedy(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i)
    if (usable(logits[i]) > usable(logits[best]))
      best = i;
  return static_cast<int32_t>(best);
}

std::vector<token_logprob> most_likely(candidates& scratch, std::span<const float> logits,
                                       const normaliser& norm, size_t count) {
  if (count == 0)
    return {};
  fill(scratch, logits);
  keep_top(scratch, count);
  std::vector<token_logprob> top;
  for (const auto& [logit, id] : scratch)
    top.push_back({id, norm.log_softmax(logit)});
  return top;
}

result<void> outside(const char* field, const char* range) {
  return {ec::bad_argument, std::string("sampling.") + field + " must be " + range};
}

} // namespace

result<void> check(const sampling_params& p) {
  // Written so that NaN fails every comparison.
  if (!(p.temperature >= 0 && p.temperature <= 100))
    return outside("temperature", "from 0 (greedy) to 100");
  if (!(p.top_p > 0 && p.top_p <= 1))
    return outside("top_p", "above 0 and at most 1 (off)");
  if (!(p.min_p >= 0 && p.min_p <= 1))
    return outside("min_p", "from 0 (off) to 1");
  if (!(p.repeat_penalty >= 0.01f && p.repeat_penalty <= 100))
    return outside("repeat_penalty", "from 0.01 to 100 (1: off)");
  if (p.logprobs > 20)
    return outside("logprobs", "from 0 to 20");
  if (p.stop.size() > 64)
    return outside("stop", "at most 64 strings");
  for (const auto& s : p.stop)
    if (s.empty() || s.size() > 1024)
      return outside("stop", "strings of 1 to 1024 bytes");
  return {};
}

sampler::sampler(const sampling_params& params, uint64_t drawn) : params_(params), drawn_(drawn) {}

sampled sampler::draw(std::span<const float> logits, std::span<const int32_t> history) {
  sampled out;
  if (logits.empty())
    return out;
  const normaliser norm(logits);
  out.top = most_likely(candidates_, logits, norm, params_.logprobs);

  const bool plain = params_.repeat_penalty == 1.0f;
  if (!plain || params_.temperature != 0)
    fill(candidates_, logits);
  if (!plain)
    penalise(candidates_, history.last(std::min<size_t>(history.size(), params_.repeat_last_n)),
             params_.repeat_penalty);
  if (params_.temperature == 0 && plain) {
    out.id = greedy(logits);
  } else if (params_.temperature == 0) {
    out.id = std::min_element(candidates_.begin(), candidates_.end(), before)->second;
  } else {
    keep_top(candidates_, params_.top_k == 0 ? candidates_.size() : params_.top_k);
    if (params_.top_p < 1)
      keep_nucleus(candidates_, params_.top_p);
    if (params_.min_p > 0)
      keep_likely(candidates_, params_.min_p);
    out.id = pick(candidates_, params_.temperature, chance(params_.seed, drawn_));
  }
  ++drawn_;
  out.logprob = norm.log_softmax(logits[static_cast<size_t>(out.id)]);
  return out;
}

float log_probability(std::span<const float> logits, int32_t id) {
  if (id < 0 || static_cast<size_t>(id) >= logits.size())
    return minus_infinity;
  return normaliser(logits).log_softmax(logits[static_cast<size_t>(id)]);
}

} // namespace coel::model
