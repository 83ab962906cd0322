// y = a * u + b * v, fitted to what is measured, the past fading: recursive least squares with
// forgetting (Haykin, Adaptive Filter Theory, ch. 10). Used for run times (u: experts, v: rows) and
// for transfers (u: 1, v: bytes).
#pragma once

#include <algorithm>

namespace coel::policy {

class linear_fit {
 public:
  /// Begins at a prior guess that the first measurements outweigh.
  explicit linear_fit(double a = 0, double b = 0, double memory = 0.98)
      : a_(a), b_(b), memory_(memory) {}

  void add(double u, double v, double y) {
    double gu = p_[0] * u + p_[1] * v, gv = p_[1] * u + p_[2] * v;
    double scale = memory_ + u * gu + v * gv;
    double off = (y - a_ * u - b_ * v) / scale;
    a_ = std::max(0.0, a_ + gu * off);   // times and rates are never negative
    b_ = std::max(0.0, b_ + gv * off);
    // Without the ceiling the matrix grows without bound along a direction that is never excited.
    p_[0] = std::min(ceiling, (p_[0] - gu * gu / scale) / memory_);
    p_[1] = (p_[1] - gu * gv / scale) / memory_;
    p_[2] = std::min(ceiling, (p_[2] - gv * gv / scale) / memory_);
    if (p_[1] * p_[1] > p_[0] * p_[2])
      p_[1] = 0;
    ++count_;
  }

  double at(double u, double v) const { return a_ * u + b_ * v; }
  double a() const { return a_; }
  double b() const { return b_; }
  unsigned long count() const { return count_; }

 private:
  static constexpr double ceiling = 1e3;
  double a_, b_, memory_;
  double p_[3] = {ceiling, 0, ceiling};   // covariance: uu, uv, vv
  unsigned long count_ = 0;
};

} // namespace coel::policy
