#include "policy/transport.hpp"

#include <limits>

namespace coel::policy {

namespace {

constexpr double never = std::numeric_limits<double>::infinity();

class solver {
 public:
  explicit solver(const transport_problem& p)
      : p_(p), n_(p.places), at_(p.items, p.places), used_(p.places), cost_(size_t{n_} * n_),
        mover_(size_t{n_} * n_) {}

  std::vector<uint32_t> solve() {
    for (uint32_t i = 0; i < p_.items; ++i)
      insert(i);
    return at_;
  }

 private:
  double profit(uint32_t item, uint32_t place) const {
    return p_.profit[size_t{item} * n_ + place];
  }

  /// What it costs to move the cheapest item from one place to another.
  void price_moves() {
    cost_.assign(cost_.size(), never);
    for (uint32_t i = 0; i < p_.items; ++i)
      if (uint32_t from = at_[i]; from < n_)
        for (uint32_t to = 0; to < n_; ++to)
          if (double c = profit(i, from) - profit(i, to); to != from && c < cost_[from * n_ + to]) {
            cost_[from * n_ + to] = c;
            mover_[from * n_ + to] = i;
          }
  }

  void insert(uint32_t item) {
    price_moves();
    std::vector<double> distance(n_);
    std::vector<uint32_t> before(n_, n_);
    for (uint32_t s = 0; s < n_; ++s)
      distance[s] = p_.quota[s] ? -profit(item, s) : never;
    for (uint32_t round = 0; round + 1 < n_; ++round) // Bellman and Ford: costs may be negative
      if (!relax(distance, before))
        break;
    uint32_t end = n_;
    for (uint32_t s = 0; s < n_; ++s)
      if (used_[s] < p_.quota[s] && (end == n_ || distance[s] < distance[end]))
        end = s;
    if (end == n_)
      return;
    ++used_[end];
    for (uint32_t s = end; before[s] < n_; s = before[s])
      at_[mover_[before[s] * n_ + s]] = s;
    uint32_t first = end;
    while (before[first] < n_)
      first = before[first];
    at_[item] = first;
  }

  bool relax(std::vector<double>& distance, std::vector<uint32_t>& before) const {
    constexpr double rounding = 1e-12; // a cycle of cost zero must not seem to gain
    bool changed = false;
    for (uint32_t a = 0; a < n_; ++a)
      for (uint32_t b = 0; b < n_; ++b)
        if (double d = distance[a] + cost_[a * n_ + b];
            p_.quota[b] && d < distance[b] - rounding && !passes(before, a, b)) {
          distance[b] = d;
          before[b] = a;
          changed = true;
        }
    return changed;
  }

  /// Whether the way to `a` leads through `b`.
  bool passes(const std::vector<uint32_t>& before, uint32_t a, uint32_t b) const {
    for (uint32_t s = a; s < n_; s = before[s])
      if (s == b)
        return true;
    return false;
  }

  const transport_problem& p_;
  uint32_t n_;
  std::vector<uint32_t> at_, used_;
  std::vector<double> cost_;    // [places, places]
  std::vector<uint32_t> mover_; // the item behind each cost
};

} // namespace

std::vector<uint32_t> transport(const transport_problem& problem) {
  return solver(problem).solve();
}

} // namespace coel::policy
