// What running experts at each node costs, learnt from every dispatch: the measurements behind
// policy::split_rows. Fits of run and travel times are slow and sure; what has changed since, and
// what waits there, policy::replica_chooser knows. One per model, shared by its gates and its
// helper; thread-safe.
#pragma once

#include "policy/column_split.hpp"
#include "policy/dispatch_split.hpp"
#include "policy/linear_fit.hpp"
#include "policy/replica_choice.hpp"
#include "policy/replica_rule.hpp"

#include <chrono>
#include <mutex>
#include <optional>

namespace coel::actors {

class cost_book {
 public:
  explicit cost_book(uint32_t hidden) : hidden_(hidden) {}
  /// Before the first dispatch; trained without it. Blind rules are there to compare others with.
  void choose_by(policy::replica_rule rule);

  /// Experts ran at `host` over that many rows in all.
  void ran(node_id host, size_t experts, size_t rows, double us);
  /// Rows went to `host` and their sum came back, without what it waited and ran there.
  void travelled(node_id host, size_t rows, double us);
  /// A dispatch went to `host`; its ticket is given back with what became of it, once.
  uint64_t sent(node_id host, size_t experts, size_t rows);
  void answered(uint64_t ticket, double took_us, double wait_us, double run_us);
  void lost(uint64_t ticket);
  /// Columns of the output matrix were computed at `host` for that many rows.
  void ran_columns(node_id host, uint32_t columns, size_t rows, double us);
  /// Their rows went to `host` and the logits came back, without what it waited and ran there.
  void columns_travelled(node_id host, uint32_t columns, size_t rows, double us);
  /// What of a layer is no expert, for that many rows, at this node: on its device, and beside it
  /// (messages, the split, sums of others); `round`: rows left the node.
  void ran_layer(size_t rows, double device_us, double beside_us, bool round);
  /// What of a decoded token is in no layer: its embedding, the logits, the draw.
  void ended_token(double us);
  /// The node's own word, until it is measured from here.
  void announced(node_id host, expert_speed speed);
  /// Round trip of an empty frame.
  void pinged(node_id host, double us);
  void forget(node_id host);

  /// Of the hosts asked for, at this moment. A node never measured is taken to be as fast as
  /// `self`.
  std::map<node_id, policy::host_cost> costs(node_id self, const std::vector<node_id>& hosts) const;
  /// The same as it usually is, for plans: without what waits there now.
  std::map<node_id, policy::host_cost> usual_costs(node_id self,
                                                   const std::vector<node_id>& hosts) const;
  /// As it was seen from here not long ago; zeros: it was not.
  expert_speed speed(node_id host) const;
  /// Of a blind rule, else nothing: costs decide.
  const policy::replica_pick* pick() const { return pick_ ? &pick_ : nullptr; }
  /// Of this node beside the experts; zeros: not measured.
  home_speed dense(node_id self, uint32_t vocab) const;
  /// Of columns of the output matrix for that many rows; 0 us a column: not measured.
  policy::column_cost column_cost(node_id self, node_id host, size_t rows) const;

 private:
  /// Before the first measurement: an ordinary LAN of 1 Gbit/s, f16 rows both ways.
  static constexpr double lan_bytes_per_us = 100;
  /// Handling on both sides beside the round trip of a ping.
  static constexpr double handling_us = 60;

  struct entry {
    policy::linear_fit run;              // experts, rows
    policy::linear_fit travel;           // 1, rows
    policy::linear_fit run_columns;      // columns, columns * rows
    policy::linear_fit travel_columns;   // 1, logits
    double ran_at = 0, travelled_at = 0; // us; 0: never
    expert_speed said;
    double ping_us = 0;
    std::optional<uint32_t> replica;          // its number to the chooser
    double usual_experts = 0, usual_rows = 0; // of its dispatches
  };
  /// Older measurements from here count less than what the node and the link say of themselves.
  static constexpr double stale_us = 20e6;

  static double now_us();
  static bool is_fresh(double at_us) { return at_us > 0 && now_us() - at_us < stale_us; }
  static bool is_seen(const entry& e, bool own);
  policy::host_cost fitted(node_id self, node_id host, const expert_speed& own) const;
  double surplus_us(const entry& e, const policy::host_cost& cost) const;
  /// What a round takes here beyond what every layer does: fixed, and for each row.
  std::pair<double, double> round_us() const;
  size_t pick_one(policy::replica_rule rule, std::span<const node_id> hosts);
  entry& of(node_id host);
  const entry* find(node_id host) const;
  std::map<node_id, policy::host_cost> fitted_all(node_id self,
                                                  const std::vector<node_id>& hosts) const;

  mutable std::mutex mutex_;
  uint32_t hidden_;
  std::map<node_id, entry> entries_;
  policy::linear_fit layer_;                       // 1, rows beyond the first
  policy::linear_fit beside_layer_, beside_round_; // the same
  std::optional<double> token_end_us_;
  policy::replica_chooser chooser_{0};
  std::mt19937_64 random_{1};
  policy::replica_pick pick_;
};

} // namespace coel::actors
