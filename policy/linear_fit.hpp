// y = a * u + b * v, fitted to what is measured, the past fading: recursive least squares with
// forgetting (Haykin, Adaptive Filter Theory, ch. 10). Used for run times (u: experts, v: rows) and
// for transfers (u: 1, v: bytes).
#pragma once

#include <algorithm>

namespace coel::policy {

class linear_fit {
 public:
  /// Begins at a guess and how sure it is: the variances of a and b in units of the noise of one
  /// measurement. Where measurements cannot tell a from b, they share the blame in that proportion.
  explicit linear_fit(double a = 0, double b = 0, double var_a = 1e4, double var_b = 1e2,
                      double memory = 0.98)
      : a_(a), b_(b), memory_(memory), most_a_(var_a), most_b_(var_b), p_{var_a, 0, var_b} {}

  void add(double u, double v, double y) {
    double gu = p_[0] * u + p_[1] * v, gv = p_[1] * u + p_[2] * v;
    double scale = memory_ + u * gu + v * gv;
    double off = (y - a_ * u - b_ * v) / scale;
    a_ = std::max(0.0, a_ + gu * off);   // times and rates are never negative
    b_ = std::max(0.0, b_ + gv * off);
    // Without a ceiling forgetting makes it grow without bound where nothing is measured.
    p_[0] = std::min(most_a_, (p_[0] - gu * gu / scale) / memory_);
    p_[1] = (p_[1] - gu * gv / scale) / memory_;
    p_[2] = std::min(most_b_, (p_[2] - gv * gv / scale) / memory_);
    if (p_[1] * p_[1] > p_[0] * p_[2])
      p_[1] = 0;
    ++count_;
  }

  double at(double u, double v) const { return a_ * u + b_ * v; }
  double a() const { return a_; }
  double b() const { return b_; }
  unsigned long count() const { return count_; }

 private:
  double a_, b_, memory_, most_a_, most_b_;
  double p_[3];                          // covariance: aa, ab, bb
  unsigned long count_ = 0;
};

} // namespace coel::policy
