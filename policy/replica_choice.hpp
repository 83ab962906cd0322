// Which of several nodes that hold an expert answers soonest: a small model of the logarithm of
// latency, one for all replicas, trained with every reply (recursive least squares; Plackett, 1950,
// with forgetting). Where it errs more than the plain rule "average latency times those under way",
// that rule decides. POLICY P4.1, P4.2.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace coel::policy {

/// y = w . x by least squares over a fading past.
template <size_t N>
class recursive_fit {
 public:
  using vector = std::array<double, N>;

  explicit recursive_fit(const vector& w, double variance = 0.05) : w_(w) {
    for (size_t i = 0; i < N; ++i)
      p_[i][i] = variance;
  }
  double at(const vector& x) const {
    double y = 0;
    for (size_t i = 0; i < N; ++i)
      y += w_[i] * x[i];
    return y;
  }
  /// One measurement; its surprise counts for at most 1, so that a stall does not teach nonsense.
  void add(const vector& x, double y) {
    vector px{};
    double xpx = 0;
    for (size_t i = 0; i < N; ++i)
      for (size_t j = 0; j < N; ++j)
        px[i] += p_[i][j] * x[j];
    for (size_t i = 0; i < N; ++i)
      xpx += x[i] * px[i];
    double error = y - at(x);
    error = error > 1 ? 1 : error < -1 ? -1 : error;
    for (size_t i = 0; i < N; ++i)
      w_[i] += px[i] / (memory + xpx) * error;
    for (size_t i = 0; i < N; ++i)
      for (size_t j = 0; j < N; ++j) {
        double p = (p_[i][j] - px[i] * px[j] / (memory + xpx)) / memory;
        p_[i][j] = p < most ? p : most;
      }
  }
  const vector& weights() const { return w_; }

 private:
  static constexpr double memory = 0.9995;
  static constexpr double most = 1; // or what is never seen would be learnt from noise
  vector w_;
  std::array<vector, N> p_{};
};

struct replica_options {
  double explore = 0.03;  ///< share of choices given to whoever was not asked for longest
  double smoothing = 0.2; ///< of average latency
  bool trained = true;    ///< false: the plain rule alone
};

/// What came back with a reply, all in us.
struct replica_reply {
  double latency_us = 0; ///< from sending to the reply
  double exec_us = 0;    ///< that it ran there, this dispatch
  double queue = 0;      ///< dispatches that were before it there
  double rtt_us = 0;     ///< of the link now; 0: not known
};

/// One home's view of the nodes that it dispatches to. Times are of one clock, in us.
class replica_chooser {
 public:
  explicit replica_chooser(uint32_t replicas, replica_options options = {});

  /// One more replica; its number.
  uint32_t add();
  /// Nothing is known of it any more, and nothing under way to it counts.
  void forget(uint32_t replica);

  /// What is known before the first reply.
  void expect(uint32_t replica, double latency_us, double rtt_us, double row_wire_us,
              double exec_row_us);
  /// Free compute by HELLO, 0 to 1: one feature of eight, since it is old.
  void heard_load(uint32_t replica, double busy) { of_[replica].load = busy; }

  /// Predicted latency by the rule in charge.
  double predict(uint32_t replica, uint32_t rows, double now_us) const;
  /// What a dispatch is predicted to take beyond `fitted_us`, which is what slower measurements
  /// make of it: queues, and load that came a moment ago. Less than 0 where it is sooner, 0 before
  /// the first reply. It fades while nothing is heard, so that who was slow is asked again.
  double surplus_us(uint32_t replica, uint32_t rows, double fitted_us, double now_us) const;
  /// Dispatches that are known to wait or run there: those under way, and what was before the last.
  double load(uint32_t replica) const { return of_[replica].under_way + of_[replica].queue; }
  /// One of `may` (not empty). A replica in `used` has a message of this layer already: only its
  /// marginal run time counts, so no new node is added for little.
  uint32_t choose(std::span<const uint32_t> may, uint32_t rows, double now_us,
                  std::mt19937_64& random, std::span<const uint32_t> used = {}) const;

  /// A dispatch went out; the ticket comes back with the reply.
  uint64_t sent(uint32_t replica, uint32_t rows, double now_us);
  void replied(uint64_t ticket, const replica_reply& reply, double now_us);
  void lost(uint64_t ticket); ///< no reply will come

  bool trained_rules() const { return options_.trained && fit_error_ <= rule_error_; }
  double fit_error() const { return fit_error_; }   ///< mean absolute, of log latency
  double rule_error() const { return rule_error_; } ///< the same of the plain rule

 private:
  static constexpr size_t features = 8;
  using fit = recursive_fit<features>;
  struct known {
    double average_us = 1000, rtt_us = 0, wire_us = 0, exec_row_us = 100, queue = 0, load = 0;
    double heard_at = 0, chosen_at = 0;
    uint32_t under_way = 0;
    uint64_t replies = 0;
  };
  struct flight {
    uint64_t ticket = 0;
    uint32_t to = 0, rows = 0;
    fit::vector x{};
    double rule_us = 0;
  };
  fit::vector describe(const known& r, uint32_t rows, double now_us) const;
  double rule_us(const known& r) const { return r.average_us * (1 + r.under_way); }

  std::vector<known> of_;
  std::vector<flight> flights_;
  replica_options options_;
  fit fit_;
  double fit_error_ = 0, rule_error_ = 0;
  uint64_t tickets_ = 0;
};

} // namespace coel::policy
