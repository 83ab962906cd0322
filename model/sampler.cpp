#include "model/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_set>

namespace coel::model {

namespace {

using candidate = std::pair<float, int32_t>;   // logit, id

/// More likely first; ties to the smaller id, so that the order is the same everywhere.
bool likelier(const candidate& a, const candidate& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

float clean(float logit) {
  return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit;
}

/// log of the sum of exp over all logits.
double log_total(std::span<const float> logits) {
  float most = -std::numeric_limits<float>::infinity();
  for (float x : logits)
    most = std::max(most, clean(x));
  double sum = 0;
  for (float x : logits)
    sum += std::exp(static_cast<double>(clean(x)) - most);
  return most + std::log(sum);
}

/// The `n` most likely, falling.
void keep_top(std::vector<candidate>& c, size_t n) {
  n = std::min(n, c.size());
  std::partial_sort(c.begin(), c.begin() + static_cast<std::ptrdiff_t>(n), c.end(), likelier);
  c.resize(n);
}

/// The shortest beginning whose probability reaches p; c is sorted.
void keep_top_p(std::vector<candidate>& c, float p) {
  double total = 0;
  for (const auto& x : c)
    total += std::exp(static_cast<double>(x.first) - c.front().first);
  double sum = 0;
  for (size_t i = 0; i < c.size(); ++i) {
    sum += std::exp(static_cast<double>(c[i].first) - c.front().first);
    if (sum >= p * total)
      return c.resize(i + 1);
  }
}

result<void> outside(const char* field, const char* range) {
  return {ec::bad_argument, std::string("sampling.") + field + " must be " + range};
}

} // namespace

result<void> check(const sampling_params& p) {
  if (!(p.temperature >= 0 && p.temperature <= 100))
    return outside("temperature", "between 0 and 100");
  if (!(p.top_p > 0 && p.top_p <= 1))
    return outside("top_p", "above 0 and at most 1");
  if (!(p.min_p >= 0 && p.min_p <= 1))
    return outside("min_p", "between 0 and 1");
  if (!(p.repeat_penalty > 0 && p.repeat_penalty <= 100))
    return outside("repeat_penalty", "above 0 and at most 100");
  if (p.logprobs > 20)
    return outside("logprobs", "at most 20");
  for (const auto& s : p.stop)
    if (s.empty())
      return outside("stop", "a list of strings that are not empty");
  return {};
}

sampler::sampler(const sampling_params& params) : params_(params), random_(params.seed) {}

sampled sampler::draw(std::span<const float> logits, std::span<const int32_t> history) {
  auto& c = candidates_;
  c.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    c.emplace_back(clean(logits[i]), static_cast<int32_t>(i));
  if (params_.repeat_penalty != 1.f) {
    auto recent = history.last(std::min<size_t>(history.size(), params_.repeat_last_n));
    for (int32_t id : std::unordered_set<int32_t>(recent.begin(), recent.end()))
      if (id >= 0 && static_cast<size_t>(id) < c.size()) {
        auto& logit = c[static_cast<size_t>(id)].first;
        logit = logit > 0 ? logit / params_.repeat_penalty : logit * params_.repeat_penalty;
      }
  }
  sampled out;
  if (params_.temperature == 0) {
    out.id = std::min_element(c.begin(), c.end(), likelier)->second;
  } else {
    bool all = params_.top_k == 0;
    keep_top(c, all ? c.size() : params_.top_k);
    if (params_.top_p < 1)
      keep_top_p(c, params_.top_p);
    float least = params_.min_p > 0 ? c.front().first + std::log(params_.min_p) : -std::numeric_limits<float>::infinity();
    while (c.size() > 1 && c.back().first < least)
      c.pop_back();
    std::vector<double> weights;
    for (const auto& x : c)
      weights.push_back(std::exp((static_cast<double>(x.first) - c.front().first) / params_.temperature));
    double total = 0;
    for (double w : weights)
      total += w;
    double point = std::uniform_real_distribution<double>(0, total)(random_);
    size_t i = 0;
    while (i + 1 < c.size() && (point -= weights[i]) >= 0)
      ++i;
    out.id = c[i].second;
  }
  double norm = log_total(logits);
  out.logprob = static_cast<float>(clean(logits[static_cast<size_t>(out.id)]) - norm);
  if (params_.logprobs) {
    c.clear();
    for (size_t i = 0; i < logits.size(); ++i)
      c.emplace_back(clean(logits[i]), static_cast<int32_t>(i));
    keep_top(c, params_.logprobs);
    for (const auto& x : c)
      out.top.push_back({x.second, static_cast<float>(x.first - norm)});
  }
  return out;
}

float log_probability(std::span<const float> logits, int32_t id) {
  return static_cast<float>(clean(logits[static_cast<size_t>(id)]) - log_total(logits));
}

} // namespace coel::model
