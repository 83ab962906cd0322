#include "policy/dispatch_split.hpp"

#include <algorithm>

namespace coel::policy {

namespace {

/// A host while the experts are given out.
struct lane {
  node_id host{};
  host_cost cost;
  double busy_us = 0;
  std::set<uint32_t> rows; ///< that must travel
  std::vector<expert_rows> experts;
};

double run_us(const expert_speed& speed, size_t rows) {
  return speed.expert_us + speed.row_us * static_cast<double>(rows);
}

/// A host that may run an expert.
struct option {
  lane* at = nullptr;
  double read_us = 0; ///< before it can
};

/// When the host would be through if it got these rows too.
double finish_with(const lane& to, const expert_rows& e, double read_us) {
  double travel = to.cost.fixed_us;
  if (to.cost.wire_us_per_row > 0) {
    size_t fresh = 0;
    for (auto r : e.rows)
      fresh += !to.rows.count(r);
    travel += to.cost.wire_us_per_row * static_cast<double>(to.rows.size() + fresh);
  }
  return travel + to.busy_us + read_us + run_us(to.cost.speed, e.rows.size());
}

void put(const option& where, expert_rows e) {
  auto& to = *where.at;
  to.busy_us += where.read_us + run_us(to.cost.speed, e.rows.size());
  if (to.cost.wire_us_per_row > 0)
    to.rows.insert(e.rows.begin(), e.rows.end());
  to.experts.push_back(std::move(e));
}

double finish(const lane& l) {
  if (l.experts.empty())
    return 0;
  return l.cost.fixed_us + l.cost.wire_us_per_row * static_cast<double>(l.rows.size()) + l.busy_us;
}

class splitter {
 public:
  explicit splitter(const split_problem& p) : p_(p) {
    for (const auto& [host, cost] : *p.costs)
      if (!p.avoid || !p.avoid->count(host))
        lanes_.push_back({host, cost, 0, {}, {}});
  }

  split solve(std::vector<expert_rows> experts) {
    split out;
    for (const auto& e : experts)
      if (auto self = p_.costs->find(p_.self); self != p_.costs->end())
        out.alone_us += run_us(self->second.speed, e.rows.size());
    std::stable_sort(experts.begin(), experts.end(),
                     [](const auto& a, const auto& b) { return a.rows.size() > b.rows.size(); });
    std::vector<std::pair<expert_rows, std::vector<option>>> free;
    for (auto& e : experts) {
      auto may = options_for(e.expert);
      if (may.empty())
        out.nowhere.push_back(std::move(e));
      else if (may.size() == 1 || p_.pick)
        put(one_of(may), std::move(e));
      else
        free.emplace_back(std::move(e), std::move(may));
    }
    for (auto& [e, may] : free) {
      auto best =
          *std::min_element(may.begin(), may.end(), [&e = e](const option& a, const option& b) {
            return finish_with(*a.at, e, a.read_us) < finish_with(*b.at, e, b.read_us);
          });
      put(best, std::move(e));
    }
    collect(out);
    return out;
  }

 private:
  std::vector<option> options_for(expert_id e) {
    std::vector<option> found;
    bool here = false;
    for (auto host : p_.table->hosts({p_.layer, e}))
      for (auto& l : lanes_)
        if (l.host == host) {
          found.push_back({&l, 0});
          here |= host == p_.self;
        }
    if (here || !p_.reads || (p_.pick && !found.empty())) // a blind rule knows no prices
      return found;
    if (auto us = (*p_.reads)(e))
      for (auto& l : lanes_)
        if (l.host == p_.self)
          found.push_back({&l, *us});
    return found;
  }

  /// By the rule of the problem; what is here stays here.
  option one_of(const std::vector<option>& may) {
    std::vector<node_id> hosts;
    for (const auto& o : may) {
      if (may.size() == 1 || o.at->host == p_.self)
        return o;
      hosts.push_back(o.at->host);
    }
    return may[(*p_.pick)(hosts)];
  }

  void collect(split& out) {
    for (auto& l : lanes_) {
      out.predicted_us = std::max(out.predicted_us, finish(l));
      if (l.experts.empty())
        continue;
      std::sort(l.experts.begin(), l.experts.end(),
                [](const auto& a, const auto& b) { return a.expert < b.expert; });
      out.hosts.push_back({l.host, std::move(l.experts)});
    }
    std::sort(out.nowhere.begin(), out.nowhere.end(),
              [](const auto& a, const auto& b) { return a.expert < b.expert; });
  }

  const split_problem& p_;
  std::vector<lane> lanes_; // hosts rising: the costs are a map
};

} // namespace

split split_rows(const split_problem& problem, std::vector<expert_rows> experts) {
  return splitter(problem).solve(std::move(experts));
}

} // namespace coel::policy
