#include "model/deep_routers.hpp"

#include "compute/quant.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace coel::model {

namespace {

constexpr size_t lanes = 16;

/// In lanes, so that the compiler may use vectors without being told that order does not matter.
template <class A>
[[gnu::always_inline]] inline float lane_dot(const A* a, const float* b, size_t n) {
  std::array<float, lanes> sums{};
  size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (size_t k = 0; k < lanes; ++k)
      sums[k] += static_cast<float>(a[i + k]) * b[i + k];
  float sum = 0;
  for (float s : sums)
    sum += s;
  for (; i < n; ++i)
    sum += static_cast<float>(a[i]) * b[i];
  return sum;
}

#if defined(__x86_64__) && defined(__GNUC__)
/// The same with the vectors of nearly every processor: two thirds of the time.
template <class A>
[[gnu::target("avx2,fma")]] float wide_dot(const A* a, const float* b, size_t n) {
  return lane_dot(a, b, n);
}
bool has_wide() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
template <class A>
float dot(const A* a, const float* b, size_t n) {
  return has_wide() ? wide_dot(a, b, n) : lane_dot(a, b, n);
}
#else
template <class A>
float dot(const A* a, const float* b, size_t n) {
  return lane_dot(a, b, n);
}
#endif

/// Rounds to a part in 32767 of the largest; returns the scale.
float round_row(std::span<const float> from, int16_t* to) {
  float largest = 0;
  for (float x : from)
    largest = std::max(largest, std::abs(x));
  float scale = std::isfinite(largest) ? largest / INT16_MAX : 0;
  for (size_t i = 0; i < from.size(); ++i)
    to[i] = scale > 0 ? static_cast<int16_t>(std::lround(from[i] / scale)) : int16_t{0};
  return scale;
}

result<void> check(const compute::matrix_view& v, uint64_t rows, uint64_t cols) {
  if (v.rows == rows && v.cols == cols)
    return {};
  return {ec::bad_file, "a router or its norm has another shape than the model says"};
}

} // namespace

result<std::unique_ptr<deep_routers>> deep_routers::load(const source& from) {
  const auto& c = from.config();
  std::unique_ptr<deep_routers> made(new deep_routers(c));
  made->rows_.resize(size_t{c.layers} * c.experts * c.hidden);
  std::vector<float> norm(c.hidden), row(c.hidden);
  auto* out = made->rows_.data();
  for (uint32_t l = 0; l < c.layers; ++l) {
    auto router = from.matrix({role::router, static_cast<layer_id>(l), {}});
    if (!router)
      return router.err();
    auto scale = from.matrix({role::ffn_norm, static_cast<layer_id>(l), {}});
    if (!scale)
      return scale.err();
    if (auto ok = check(*router, c.experts, c.hidden); !ok)
      return ok.err();
    if (auto ok = check(*scale, 1, c.hidden); !ok)
      return ok.err();
    compute::dequantise_row(scale->type, scale->row(0), norm.data(), c.hidden);
    for (uint32_t e = 0; e < c.experts; ++e, out += c.hidden) {
      compute::dequantise_row(router->type, router->row(e), row.data(), c.hidden);
      for (uint32_t h = 0; h < c.hidden; ++h)
        row[h] *= norm[h];
      made->scales_.push_back(round_row(row, out));
    }
    from.release(*router);
  }
  return made;
}

void deep_routers::apply(layer_id layer, std::span<const float> residual,
                         std::vector<float>& logits) const {
  float mean = dot(residual.data(), residual.data(), hidden_) / static_cast<float>(hidden_);
  float scale = 1 / std::sqrt(mean + eps_);
  const auto* row = rows_.data() + size_t{index(layer)} * experts_ * hidden_;
  logits.resize(experts_);
  for (uint32_t e = 0; e < experts_; ++e, row += hidden_)
    logits[e] =
        scale * scales_[size_t{index(layer)} * experts_ + e] * dot(row, residual.data(), hidden_);
}

} // namespace coel::model
