#include "actors/cost_book.hpp"

namespace coel::actors {

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
  of(host).run.add(static_cast<double>(experts), static_cast<double>(rows), us);
}

void cost_book::travelled(node_id host, size_t rows, double us) {
  std::lock_guard lock(mutex_);
  of(host).travel.add(1, static_cast<double>(rows), us);
}

void cost_book::ran_columns(node_id host, uint32_t columns, size_t rows, double us) {
  std::lock_guard lock(mutex_);
  of(host).run_columns.add(columns, static_cast<double>(columns) * static_cast<double>(rows), us);
}

void cost_book::columns_travelled(node_id host, uint32_t columns, size_t rows, double us) {
  std::lock_guard lock(mutex_);
  of(host).travel_columns.add(1, static_cast<double>(columns) * static_cast<double>(rows), us);
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
  entries_.erase(host);
}

std::map<node_id, policy::host_cost> cost_book::costs(node_id self,
                                                      const std::vector<node_id>& hosts) const {
  std::lock_guard lock(mutex_);
  std::map<node_id, policy::host_cost> all;
  auto measured = [&](node_id host) {
    auto e = entries_.find(host);
    if (e == entries_.end())
      return expert_speed{};
    return e->second.run.count() ? expert_speed{e->second.run.a(), e->second.run.b()}
                                 : e->second.said;
  };
  auto own = measured(self);
  for (auto host : hosts) {
    policy::host_cost cost;
    cost.speed = measured(host);
    if (cost.speed == expert_speed{})
      cost.speed = own;
    if (host != self) {
      auto e = entries_.find(host);
      bool known = e != entries_.end() && e->second.travel.count();
      double ping = e == entries_.end() ? 0 : e->second.ping_us;
      cost.fixed_us = known ? e->second.travel.a() : ping + handling_us;
      cost.wire_us_per_row =
          e == entries_.end() ? 4.0 * hidden_ / lan_bytes_per_us : e->second.travel.b();
    }
    all.emplace(host, cost);
  }
  return all;
}

expert_speed cost_book::speed(node_id host) const {
  std::lock_guard lock(mutex_);
  auto e = entries_.find(host);
  if (e == entries_.end() || !e->second.run.count())
    return {};
  return {e->second.run.a(), e->second.run.b()};
}

} // namespace coel::actors
