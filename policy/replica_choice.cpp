#include "policy/replica_choice.hpp"

#include <algorithm>
#include <cmath>

namespace coel::policy {

namespace {

constexpr size_t most_flights = 4096; // beyond, the oldest are taken to be lost
constexpr double error_memory = 0.99;
constexpr double surplus_half_life_us = 5e6;

} // namespace

replica_chooser::replica_chooser(uint32_t replicas, replica_options options)
    : of_(replicas), options_(options), fit_({0, 1, 1, 0, 0, 0, 0, 0}) {}

uint32_t replica_chooser::add() {
  of_.emplace_back();
  return static_cast<uint32_t>(of_.size() - 1);
}

void replica_chooser::forget(uint32_t replica) {
  of_[replica] = {};
  std::erase_if(flights_, [replica](const flight& f) { return f.to == replica; });
}

double replica_chooser::surplus_us(uint32_t replica, uint32_t rows, double fitted_us,
                                   double now_us) const {
  const auto& r = of_[replica];
  if (!r.replies)
    return 0;
  double fade = std::exp2(-std::max(0.0, now_us - r.heard_at) / surplus_half_life_us);
  return fade * (predict(replica, rows, now_us) - fitted_us);
}

void replica_chooser::expect(uint32_t replica, double latency_us, double rtt_us, double row_wire_us,
                             double exec_row_us) {
  auto& r = of_[replica];
  if (!r.replies)
    r.average_us = std::max(1.0, latency_us);
  r.rtt_us = rtt_us;
  r.wire_us = row_wire_us;
  r.exec_row_us = exec_row_us;
}

/// Features of POLICY P4.1, times in ms so that all are of the order of 1.
replica_chooser::fit::vector replica_chooser::describe(const known& r, uint32_t rows,
                                                       double now_us) const {
  double run = r.exec_row_us * rows;
  double analytic = r.rtt_us + r.wire_us * rows + run + r.exec_row_us * (r.queue + r.under_way);
  return {1,
          std::log(std::max(r.average_us, 1.0) / 1000),
          std::log1p(r.under_way),
          std::log(std::max(analytic, 1.0) / 1000),
          std::log1p(r.queue * r.exec_row_us / 1000),
          r.load,
          std::log1p(std::max(0.0, now_us - r.heard_at) / 1e6),
          std::log(std::max(1u, rows))};
}

double replica_chooser::predict(uint32_t replica, uint32_t rows, double now_us) const {
  const auto& r = of_[replica];
  if (!trained_rules())
    return rule_us(r);
  return 1000 * std::exp(std::clamp(fit_.at(describe(r, rows, now_us)), -10.0, 12.0));
}

uint32_t replica_chooser::choose(std::span<const uint32_t> may, uint32_t rows, double now_us,
                                 std::mt19937_64& random, std::span<const uint32_t> used) const {
  auto unit = static_cast<double>(random() >> 11) * 0x1p-53;
  if (may.size() > 1 && unit < options_.explore)
    return *std::min_element(may.begin(), may.end(), [&](uint32_t a, uint32_t b) {
      return of_[a].chosen_at < of_[b].chosen_at;
    });
  uint32_t best = may.front();
  double least = -1;
  for (auto r : may) {
    bool there = std::find(used.begin(), used.end(), r) != used.end();
    double us = there ? of_[r].exec_row_us * rows : predict(r, rows, now_us);
    if (least < 0 || us < least) {
      least = us;
      best = r;
    }
  }
  return best;
}

uint64_t replica_chooser::sent(uint32_t replica, uint32_t rows, double now_us) {
  auto& r = of_[replica];
  if (flights_.size() >= most_flights)
    lost(flights_.front().ticket);
  flights_.push_back({++tickets_, replica, rows, describe(r, rows, now_us), rule_us(r)});
  ++r.under_way;
  r.chosen_at = now_us;
  return tickets_;
}

void replica_chooser::replied(uint64_t ticket, const replica_reply& reply, double now_us) {
  auto at = std::lower_bound(flights_.begin(), flights_.end(), ticket,
                             [](const flight& f, uint64_t t) { return f.ticket < t; });
  if (at == flights_.end() || at->ticket != ticket || !(reply.latency_us > 0))
    return;
  auto& r = of_[at->to];
  double y = std::log(std::max(reply.latency_us, 1.0) / 1000);
  double fit_miss = std::abs(y - fit_.at(at->x));
  double rule_miss = std::abs(y - std::log(std::max(at->rule_us, 1.0) / 1000));
  fit_error_ = error_memory * fit_error_ + (1 - error_memory) * std::min(fit_miss, 3.0);
  rule_error_ = error_memory * rule_error_ + (1 - error_memory) * std::min(rule_miss, 3.0);
  fit_.add(at->x, y);
  r.average_us = r.replies ? r.average_us + options_.smoothing * (reply.latency_us - r.average_us)
                           : reply.latency_us;
  ++r.replies;
  r.queue = std::max(0.0, reply.queue);
  if (reply.exec_us > 0)
    r.exec_row_us += 0.3 * (reply.exec_us / std::max(1u, at->rows) - r.exec_row_us);
  if (reply.rtt_us > 0)
    r.rtt_us += 0.3 * (reply.rtt_us - r.rtt_us);
  r.heard_at = now_us;
  r.under_way -= r.under_way > 0;
  flights_.erase(at);
}

void replica_chooser::lost(uint64_t ticket) {
  auto at = std::lower_bound(flights_.begin(), flights_.end(), ticket,
                             [](const flight& f, uint64_t t) { return f.ticket < t; });
  if (at == flights_.end() || at->ticket != ticket)
    return;
  auto& r = of_[at->to];
  r.under_way -= r.under_way > 0;
  flights_.erase(at);
}

} // namespace coel::policy
