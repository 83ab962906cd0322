// y = a * u + b * v, fitted to what is measured, the past fading: weighted least squares over
// decayed sums, pulled towards the last estimate where measurements do not tell a from b (as
// Levenberg does). Errors count relative to what is expected: relative to what was measured, slow
// ones would count for less, and the fit would lie below the mean. Used for run times (u: experts,
// v: rows) and for transfers (u: 1, v: rows).
#pragma once

#include <algorithm>

namespace coel::policy {

class linear_fit {
 public:
  /// Begins at a guess. Where a and b cannot be told apart (one row for each expert, say), almost
  /// all of a difference is put down to a.
  explicit linear_fit(double a = 0, double b = 0) : a_(a), b_(b) {}

  /// Ignored unless u, v are not negative, u is positive and y is at least 0 and finite.
  void add(double u, double v, double y) {
    if (!(u > 0 && u < most && v >= 0 && v < most && y >= 0 && y < most))
      return;
    double about = std::max(1.0, count_ ? std::clamp(at(u, v), y / far, y * far) : y);
    double weight = 1 / (about * about);
    uu_ = memory * uu_ + weight * u * u;
    uv_ = memory * uv_ + weight * u * v;
    vv_ = memory * vv_ + weight * v * v;
    uy_ = memory * uy_ + weight * u * y;
    vy_ = memory * vy_ + weight * v * y;
    solve();
    ++count_;
  }

  double at(double u, double v) const { return a_ * u + b_ * v; }
  double a() const { return a_; }
  double b() const { return b_; }
  unsigned long count() const { return count_; }

 private:
  static constexpr double memory = 0.98;
  static constexpr double most = 1e12;
  static constexpr double far = 4; // an estimate that is further off is no guide to its error
  static constexpr double stiff_a = 0.01,
                          stiff_b = 1; // pull towards the last estimate, in shares of uu and vv

  void solve() {
    double aa = uu_ * (1 + stiff_a), bb = vv_ * (1 + stiff_b) + tiny;
    double ay = uy_ + stiff_a * uu_ * a_, by = vy_ + (stiff_b * vv_ + tiny) * b_;
    double determinant = aa * bb - uv_ * uv_; // positive: uv^2 <= uu * vv
    double a = (ay * bb - by * uv_) / determinant;
    double b = (by * aa - ay * uv_) / determinant;
    if (b < 0) { // times are never negative
      b = 0;
      a = ay / aa;
    } else if (a < 0) {
      a = 0;
      b = by / bb;
    }
    a_ = std::max(0.0, a);
    b_ = std::max(0.0, b);
  }

  static constexpr double tiny = 1e-30; // for v = 0 all along
  double a_, b_;
  double uu_ = 0, uv_ = 0, vv_ = 0, uy_ = 0, vy_ = 0;
  unsigned long count_ = 0;
};

} // namespace coel::policy
