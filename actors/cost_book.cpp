#include "actors/cost_book.hpp"

#include <algorithm>

namespace coel::actors {

namespace {

using all_costs = std::map<node_id, policy::host_cost>;

/// With what a round takes here, fixed and for each row.
all_costs with_rounds(all_costs all, node_id self, std::pair<double, double> round_us) {
  for (auto& [host, cost] : all)
    if (host != self) {
      cost.fixed_us += round_us.first;
      cost.wire_us_per_row += round_us.second;
    }
  return all;
}

} // namespace

void cost_book::choose_by(policy::replica_rule rule) {
  std::lock_guard lock(mutex_);
  policy::replica_options how;
  how.trained = rule == policy::replica_rule::trained;
  chooser_ = policy::replica_chooser(0, how);
  pick_ = nullptr;
  if (policy::is_blind(rule))
    pick_ = [this, rule](std::span<const node_id> hosts) { return pick_one(rule, hosts); };
}

size_t cost_book::pick_one(policy::replica_rule rule, std::span<const node_id> hosts) {
  std::lock_guard lock(mutex_);
  std::vector<double> loads;
  for (auto host : hosts) {
    const auto* e = find(host);
    loads.push_back(e && e->replica ? chooser_.load(*e->replica) : 0);
  }
  return policy::pick_replica(rule, loads, random_);
}

cost_book::entry& cost_book::of(node_id host) {
  auto [at, fresh] = entries_.try_emplace(host);
  if (fresh) {
    at->second.travel = policy::linear_fit(0, 4.0 * hidden_ / lan_bytes_per_us);
    at->second.travel_columns = policy::linear_fit(0, sizeof(float) / lan_bytes_per_us);
  }
  return at->second;
}

const cost_book::entry* cost_book::find(node_id host) const {
  auto at = entries_.find(host);
  return at == entries_.end() ? nullptr : &at->second;
}

void cost_book::ran(node_id host, size_t experts, size_t rows, double us) {
  std::lock_guard lock(mutex_);
  auto& e = of(host);
  e.run.add(static_cast<double>(experts), static_cast<double>(rows), us);
  e.ran_at = now_us();
}

void cost_book::travelled(node_id host, size_t rows, double us) {
  std::lock_guard lock(mutex_);
  auto& e = of(host);
  e.travel.add(1, static_cast<double>(rows), us);
  e.travelled_at = now_us();
}

void cost_book::ran_columns(node_id host, uint32_t columns, size_t rows, double us) {
  std::lock_guard lock(mutex_);
  of(host).run_columns.add(columns, static_cast<double>(columns) * static_cast<double>(rows), us);
}

void cost_book::columns_travelled(node_id host, uint32_t columns, size_t rows, double us) {
  std::lock_guard lock(mutex_);
  of(host).travel_columns.add(1, static_cast<double>(columns) * static_cast<double>(rows), us);
}

void cost_book::ran_layer(size_t rows, double device_us, double beside_us, bool round) {
  auto more = static_cast<double>(rows) - 1;
  std::lock_guard lock(mutex_);
  layer_.add(1, more, device_us);
  (round ? beside_round_ : beside_layer_).add(1, more, beside_us);
}

void cost_book::ended_token(double us) {
  constexpr double fresh = 0.05;
  std::lock_guard lock(mutex_);
  token_end_us_ = token_end_us_ ? *token_end_us_ + fresh * (us - *token_end_us_) : us;
}

home_speed cost_book::dense(node_id self, uint32_t vocab) const {
  auto head = column_cost(self, self, 1).us_per_column * vocab;
  std::lock_guard lock(mutex_);
  if (!layer_.count())
    return {};
  const auto& beside = beside_layer_.count() ? beside_layer_ : beside_round_;
  return {layer_.a() + beside.a(), layer_.b() + beside.b(), token_end_us_.value_or(head)};
}

std::pair<double, double> cost_book::round_us() const {
  if (!beside_layer_.count() || !beside_round_.count())
    return {0, 0};
  return {std::max(0.0, beside_round_.a() - beside_layer_.a()),
          std::max(0.0, beside_round_.b() - beside_layer_.b())};
}

policy::column_cost cost_book::column_cost(node_id self, node_id host, size_t rows) const {
  std::lock_guard lock(mutex_);
  auto n = static_cast<double>(rows);
  auto run_of = [&](const entry* e) { return e ? e->run_columns.at(1, n) : 0.0; };
  const auto* e = find(host);
  bool measured = e && e->run_columns.count();
  policy::column_cost cost{host, 0, run_of(measured ? e : find(self))};
  if (host == self || cost.us_per_column <= 0)
    return cost;
  bool travelled = e && e->travel_columns.count();
  cost.fixed_us = travelled ? e->travel_columns.a() : handling_us + (e ? e->ping_us : 0);
  cost.us_per_column += n * (e ? e->travel_columns.b() : sizeof(float) / lan_bytes_per_us);
  return cost;
}

void cost_book::announced(node_id host, expert_speed speed) {
  std::lock_guard lock(mutex_);
  of(host).said = speed;
}

void cost_book::pinged(node_id host, double us) {
  std::lock_guard lock(mutex_);
  of(host).ping_us = us;
}

void cost_book::forget(node_id host) {
  std::lock_guard lock(mutex_);
  auto at = entries_.find(host);
  if (at == entries_.end())
    return;
  auto replica = at->second.replica;
  at->second = entry();
  if (replica) { // its number stays, or numbers would grow with every restart
    chooser_.forget(*replica);
    at->second.replica = replica;
  }
  at->second.travel = policy::linear_fit(0, 4.0 * hidden_ / lan_bytes_per_us);
  at->second.travel_columns = policy::linear_fit(0, sizeof(float) / lan_bytes_per_us);
}

double cost_book::now_us() {
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

uint64_t cost_book::sent(node_id host, size_t experts, size_t rows) {
  constexpr double fresh = 0.1;
  std::lock_guard lock(mutex_);
  auto& e = of(host);
  bool first = !e.replica || e.usual_rows == 0;
  if (!e.replica)
    e.replica = chooser_.add();
  e.usual_experts += (first ? 1 : fresh) * (static_cast<double>(experts) - e.usual_experts);
  e.usual_rows += (first ? 1 : fresh) * (static_cast<double>(rows) - e.usual_rows);
  if (first) {
    auto cost = fitted(host, host, {});
    chooser_.expect(*e.replica, e.ping_us + handling_us, e.ping_us, e.travel.b(),
                    cost.speed.expert_us + cost.speed.row_us);
  }
  return chooser_.sent(*e.replica, static_cast<uint32_t>(rows), now_us());
}

void cost_book::answered(uint64_t ticket, double took_us, double wait_us, double run_us) {
  std::lock_guard lock(mutex_);
  chooser_.replied(ticket, {took_us, run_us, run_us > 0 ? wait_us / run_us : 0, 0}, now_us());
}

void cost_book::lost(uint64_t ticket) {
  std::lock_guard lock(mutex_);
  chooser_.lost(ticket);
}

/// Not so long ago that its own word says more.
bool cost_book::is_seen(const entry& e, bool own) {
  return e.run.count() && (own || e.said == expert_speed{} || is_fresh(e.ran_at));
}

/// As `own` where its speed was never measured.
policy::host_cost cost_book::fitted(node_id self, node_id host, const expert_speed& own) const {
  policy::host_cost cost;
  const auto* e = find(host);
  if (e)
    cost.speed = is_seen(*e, host == self) ? expert_speed{e->run.a(), e->run.b()} : e->said;
  if (cost.speed == expert_speed{})
    cost.speed = own;
  if (host == self)
    return cost;
  bool known = e && e->travel.count() && (e->ping_us <= 0 || is_fresh(e->travelled_at));
  cost.fixed_us = known ? e->travel.a() : (e ? e->ping_us : 0) + handling_us;
  cost.wire_us_per_row = e ? e->travel.b() : 4.0 * hidden_ / lan_bytes_per_us;
  return cost;
}

/// What the usual dispatch to it takes beyond what its fits say.
double cost_book::surplus_us(const entry& e, const policy::host_cost& cost) const {
  if (!e.replica || e.usual_rows == 0)
    return 0;
  double usual = cost.fixed_us + cost.wire_us_per_row * e.usual_rows +
                 cost.speed.expert_us * e.usual_experts + cost.speed.row_us * e.usual_rows;
  return chooser_.surplus_us(*e.replica, static_cast<uint32_t>(e.usual_rows + 0.5), usual,
                             now_us());
}

std::map<node_id, policy::host_cost>
cost_book::fitted_all(node_id self, const std::vector<node_id>& hosts) const {
  std::map<node_id, policy::host_cost> all;
  auto own = fitted(self, self, {}).speed;
  for (auto host : hosts)
    all.emplace(host, fitted(self, host, own));
  return all;
}

std::map<node_id, policy::host_cost>
cost_book::usual_costs(node_id self, const std::vector<node_id>& hosts) const {
  std::lock_guard lock(mutex_);
  return with_rounds(fitted_all(self, hosts), self, round_us());
}

std::map<node_id, policy::host_cost> cost_book::costs(node_id self,
                                                      const std::vector<node_id>& hosts) const {
  constexpr double least = 0.5; // of the fitted round trip, which nothing undercuts by much
  std::lock_guard lock(mutex_);
  auto all = fitted_all(self, hosts);
  for (auto& [host, cost] : all)
    if (const auto* e = find(host); e && host != self)
      cost.fixed_us = std::max(least * cost.fixed_us, cost.fixed_us + surplus_us(*e, cost));
  return with_rounds(std::move(all), self, round_us());
}

expert_speed cost_book::speed(node_id host) const {
  std::lock_guard lock(mutex_);
  const auto* e = find(host);
  return e && is_seen(*e, host == this_node) ? expert_speed{e->run.a(), e->run.b()}
                                             : expert_speed{};
}

} // namespace coel::actors
