#include "policy/expert_supply.hpp"

#include <algorithm>
#include <limits>

namespace coel::policy {

namespace {

/// A read that fails for a step is tried again so many times less one.
constexpr uint32_t tries = 2;
/// Of its value, for what has a copy of fewer bits: without it nothing is waited for.
constexpr double worth_beside_copy = 0.25;

} // namespace

expert_supply::expert_supply(cache_shape shape, std::vector<uint64_t> bytes,
                             const supply_limits& limits, cache_value_ptr rule)
    : shape_(shape), bytes_(std::move(bytes)), limits_(limits), rule_(std::move(rule)),
      entries_(shape.slots()) {}

void expert_supply::order(supply_order::what kind, expert_key key, uint64_t job, uint64_t step) {
  supply_order o;
  o.kind = kind;
  o.key = key;
  o.job = job;
  o.step = step;
  orders_.push_back(std::move(o));
}

std::vector<supply_order> expert_supply::take_orders() {
  return std::exchange(orders_, {});
}

// ---- steps

std::vector<expert_supply::found> expert_supply::begin(uint64_t step, layer_id layer,
                                                       std::span<const expert_use> wanted,
                                                       uint32_t rows,
                                                       std::span<const uint8_t> lower) {
  rule_->routed(layer, wanted, rows);
  auto& s = steps_[step];
  std::vector<found> how;
  for (size_t i = 0; i < wanted.size(); ++i) {
    expert_key key{layer, wanted[i].expert};
    s.wanted.push_back(key);
    s.lower.push_back(i < lower.size() && lower[i] && at(key).is != state::resident);
    if (s.lower.back())
      keep_for_worth(key);
    how.push_back(s.lower.back() ? found::lower : claim(key));
  }
  give_up_turn(layer);
  settle();
  return how;
}

expert_supply::found expert_supply::claim(expert_key key) {
  auto& e = at(key);
  ++e.waiting;
  bool job = e.is == state::reading || e.is == state::packing;
  if (e.is == state::reading && !e.urgent) {
    e.urgent = true;
    order(supply_order::what::hurry, key, e.job);
  }
  if (e.is == state::resident)
    return e.unused && e.ahead ? found::foreseen : found::here;
  return job ? found::coming : found::missing;
}

/// The layer's turn has come: what is not wanted now was foreseen in vain.
void expert_supply::give_up_turn(layer_id layer) {
  std::erase_if(wishes_, [&](const wish& w) { return w.key.layer == layer; });
  for (uint32_t e = 0; e < shape_.experts; ++e) {
    expert_key key{layer, static_cast<expert_id>(e)};
    if (std::exchange(at(key).expected, 0.f) > 0)
      give_up_if_unwanted(key);
  }
}

/// A step runs its copy, so that nothing asks for the expert itself but what it is worth.
void expert_supply::keep_for_worth(expert_key key) {
  auto& e = at(key);
  bool known = std::exchange(e.keep, true);
  if (e.is == state::absent && !known) {
    std::erase(to_keep_, key);
    to_keep_.push_back(key);
  } else if (e.is == state::reading && !e.cancelled) {
    order(supply_order::what::ready, key, e.job);
  }
}

void expert_supply::give_up_if_unwanted(expert_key key) {
  auto& e = at(key);
  if (e.is == state::reading && !wanted(e) && !std::exchange(e.cancelled, true))
    order(supply_order::what::cancel, key, e.job);
}

void expert_supply::ran(uint64_t step, uint32_t count) {
  auto open = steps_.find(step);
  if (open == steps_.end())
    return;
  auto& s = open->second;
  for (; count > 0 && s.ran < s.lent; --count, ++s.ran)
    if (!s.lower[s.ran])
      --at(s.wanted[s.ran]).lent;
  settle();
}

void expert_supply::end(uint64_t step) {
  close(step);
  settle();
}

void expert_supply::close(uint64_t step) {
  auto node = steps_.extract(step);
  if (node.empty())
    return;
  auto& s = node.mapped();
  for (size_t i = s.ran; i < s.lent; ++i)
    if (!s.lower[i])
      --at(s.wanted[i]).lent;
  for (size_t i = s.lent; i < s.wanted.size(); ++i) {
    if (s.lower[i])
      continue;
    --at(s.wanted[i]).waiting;
    give_up_if_unwanted(s.wanted[i]);
  }
}

// ---- what nobody waits for yet

void expert_supply::foresee(std::span<const wish> wishes) {
  for (const auto& w : wishes) {
    auto& e = at(w.key);
    bool known = e.expected > 0;
    e.expected = std::max(e.expected, w.probability);
    if (!known && e.is == state::absent)
      wishes_.push_back(w);
  }
  settle();
}

void expert_supply::fill(std::vector<expert_key> keys) {
  std::reverse(keys.begin(), keys.end());
  to_fill_ = std::move(keys);
  settle();
}

void expert_supply::end_fill(entry& e) {
  if (std::exchange(e.fill, false))
    --fills_;
}

// ---- jobs

void expert_supply::was_read(uint64_t job, const result<void>& outcome) {
  auto under_way = jobs_.find(job);
  if (under_way == jobs_.end())
    return;
  auto key = under_way->second;
  auto& e = at(key);
  if (!outcome) {
    job_failed(job, outcome.err());
  } else if (wanted(e)) {
    e.is = state::packing;
    order(supply_order::what::pack, key, job);
    orders_.back().urgent = e.waiting > 0;
  } else {
    order(supply_order::what::drop, key, job);
    jobs_.erase(under_way);
    counts_.wasted_bytes += bytes(key);
    used_ -= bytes(key);
    e.is = state::absent;
  }
  settle();
}

void expert_supply::was_packed(uint64_t job, const result<void>& outcome) {
  auto under_way = jobs_.find(job);
  if (under_way == jobs_.end())
    return;
  auto& e = at(under_way->second);
  if (outcome) {
    jobs_.erase(under_way);
    e.is = state::resident;
    e.unused = true;
    e.ahead = e.waiting == 0 && !e.fill && !e.keep;
    e.keep = false;
    end_fill(e);
  } else {
    job_failed(job, outcome.err());
  }
  settle();
}

/// Steps that wait for it see another read of their own, once; then they are over.
void expert_supply::job_failed(uint64_t job, const error& why) {
  auto key = jobs_.extract(job).mapped();
  auto& e = at(key);
  used_ -= bytes(key);
  e.is = state::absent;
  e.keep = false;
  end_fill(e);
  if (why.code == ec::cancelled)
    return;
  ++counts_.failed;
  e.expected = 0; // a guess is not worth another try
  std::vector<uint64_t> over;
  for (auto& [number, s] : steps_) {
    auto from = s.wanted.begin() + static_cast<std::ptrdiff_t>(s.lent);
    auto place = std::find(from, s.wanted.end(), key);
    if (place == s.wanted.end() || s.lower[static_cast<size_t>(place - s.wanted.begin())])
      continue;
    if (++s.failures[key] >= tries)
      over.push_back(number);
  }
  for (auto step : over) {
    order(supply_order::what::fail, key, job, step);
    orders_.back().why = why;
    close(step);
  }
}

void expert_supply::freed(expert_key key) {
  leaving_ -= bytes(key);
  used_ -= bytes(key);
  settle();
}

void expert_supply::resize(uint64_t pool_bytes) {
  limits_.pool_bytes = pool_bytes;
  settle();
}

// ---- what can be done now

void expert_supply::settle() {
  lend();
  shrink();
  if (!start_demands())
    return;
  start_ahead();
  start_kept();
  start_fill();
}

/// Only after the pool has become smaller is there more in it than it may have.
void expert_supply::shrink() {
  expert_key victim;
  while (used_ - leaving_ > limits_.pool_bytes) {
    if (find_victim(need::demand, std::numeric_limits<double>::infinity(), victim))
      evict(victim);
    else if (!cancel_one_ahead())
      return;
  }
}

void expert_supply::lend() {
  for (auto& [number, s] : steps_)
    for (; s.lent < s.wanted.size(); ++s.lent) {
      auto& e = at(s.wanted[s.lent]);
      bool lower = s.lower[s.lent];
      if (!lower && e.is != state::resident)
        break;
      if (!lower) {
        --e.waiting;
        ++e.lent;
        e.unused = false;
      }
      order(supply_order::what::lend, s.wanted[s.lent], 0, number);
      orders_.back().lower = lower;
    }
}

/// Whether all that steps wait for is under way.
bool expert_supply::start_demands() {
  auto why = need::first;
  for (const auto& [number, s] : steps_)
    for (size_t i = s.lent; i < s.wanted.size(); ++i) {
      if (s.lower[i])
        continue;
      auto is_now = at(s.wanted[i]).is;
      if (is_now == state::absent && !start(s.wanted[i], why))
        return false;
      if (is_now != state::resident)
        why = need::demand;
    }
  return true;
}

uint32_t expert_supply::ahead_jobs() const {
  return static_cast<uint32_t>(std::count_if(
      jobs_.begin(), jobs_.end(), [this](const auto& j) { return at(j.second).waiting == 0; }));
}

void expert_supply::start_ahead() {
  size_t done = 0;
  for (; done < wishes_.size(); ++done) {
    const auto& w = wishes_[done];
    auto& e = at(w.key);
    if (e.expected <= 0 || e.is != state::absent)
      continue;
    if (ahead_jobs() >= limits_.jobs_ahead || jobs_.size() >= limits_.jobs)
      break;
    if (start(w.key, need::ahead))
      continue;
    if (used_ - leaving_ + bytes(w.key) <= limits_.pool_bytes)
      break;        // room is on its way
    e.expected = 0; // what would have to go for it is worth more
  }
  wishes_.erase(wishes_.begin(), wishes_.begin() + static_cast<std::ptrdiff_t>(done));
}

/// Makes room only from what is worth less: what runs as a copy has no other claim. One at a time
/// and beside nothing else, or who has no copy would wait for it.
void expert_supply::start_kept() {
  size_t done = 0;
  for (; done < to_keep_.size(); ++done) {
    auto key = to_keep_[done];
    auto& e = at(key);
    if (!e.keep || e.is != state::absent)
      continue;
    if (!jobs_.empty() || limits_.jobs_ahead == 0)
      break;
    if (start(key, need::keep))
      continue;
    if (used_ - leaving_ + bytes(key) <= limits_.pool_bytes)
      break; // room is on its way
    e.keep = false;
  }
  to_keep_.erase(to_keep_.begin(), to_keep_.begin() + static_cast<std::ptrdiff_t>(done));
}

void expert_supply::start_fill() {
  while (!to_fill_.empty() && jobs_.size() < limits_.jobs) {
    auto key = to_fill_.back();
    if (at(key).is == state::absent) {
      if (!start(key, need::fill))
        return to_fill_.clear();
      at(key).fill = true;
      ++fills_;
    }
    to_fill_.pop_back();
  }
}

bool expert_supply::start(expert_key key, need why) {
  if (jobs_.size() >= limits_.jobs || !make_room(key, why))
    return false;
  auto& e = at(key);
  used_ += bytes(key);
  e.is = state::reading;
  e.job = next_job_++;
  e.urgent = e.waiting > 0;
  e.cancelled = false;
  jobs_[e.job] = key;
  order(supply_order::what::read, key, e.job);
  orders_.back().urgent = e.urgent;
  orders_.back().ahead =
      why == need::ahead && e.expected < 1 && !e.keep; // what is certain is made ready
  return true;
}

/// What is leaving counts as room that is on its way: nobody else goes for it.
bool expert_supply::make_room(expert_key key, need why) {
  bool patient = why == need::ahead || why == need::keep;
  double worth = why == need::ahead  ? at(key).expected
                 : why == need::keep ? rule_->value(key) * worth_beside_copy
                                     : std::numeric_limits<double>::infinity();
  auto most = why == need::first ? std::max(limits_.pool_bytes, bytes(key)) : limits_.pool_bytes;
  while (used_ - leaving_ + bytes(key) > most) {
    expert_key victim;
    if (why == need::fill)
      return false;
    if (!find_victim(why, worth, victim)) {
      if (!patient)
        cancel_one_ahead(); // its memory comes back with its answer
      return false;
    }
    evict(victim);
  }
  return used_ + bytes(key) <= most;
}

/// The least valuable that nobody waits for; for a step also what is only foreseen; for the first
/// that the oldest step lacks also what comes last.
bool expert_supply::find_victim(need why, double worth, expert_key& out) const {
  double least = worth, least_expected = std::numeric_limits<double>::infinity();
  bool any = false, any_expected = false;
  expert_key guess;
  for (uint32_t l = 0; l < shape_.layers; ++l)
    for (uint32_t x = 0; x < shape_.experts; ++x) {
      expert_key key{static_cast<layer_id>(l), static_cast<expert_id>(x)};
      const auto& e = at(key);
      if (e.is != state::resident || e.lent || e.waiting)
        continue;
      if (e.expected > 0) {
        if (e.expected < least_expected) {
          least_expected = e.expected;
          guess = key;
          any_expected = true;
        }
      } else if (double v = rule_->value(key); v < least) {
        least = v;
        out = key;
        any = true;
      }
    }
  if (any)
    return true;
  if (any_expected && why != need::ahead && why != need::keep) {
    out = guess;
    return true;
  }
  return why == need::first && last_waiting(out);
}

/// Of the newest step, what it runs last.
bool expert_supply::last_waiting(expert_key& out) const {
  for (auto s = steps_.rbegin(); s != steps_.rend(); ++s)
    for (size_t i = s->second.wanted.size(); i > s->second.lent; --i) {
      const auto& e = at(s->second.wanted[i - 1]);
      if (e.is == state::resident && !e.lent && !s->second.lower[i - 1]) {
        out = s->second.wanted[i - 1];
        return true;
      }
    }
  return false;
}

/// The least likely of what is read ahead. False: there is none, or one is on its way out.
bool expert_supply::cancel_one_ahead() {
  expert_key least;
  float probability = std::numeric_limits<float>::infinity();
  for (const auto& [job, key] : jobs_) {
    const auto& e = at(key);
    if (e.is != state::reading || e.waiting || e.fill)
      continue;
    if (e.cancelled)
      return false;
    if (e.expected < probability) {
      probability = e.expected;
      least = key;
    }
  }
  if (probability == std::numeric_limits<float>::infinity())
    return false;
  at(least).expected = 0;
  at(least).keep = false;
  give_up_if_unwanted(least);
  return true;
}

void expert_supply::evict(expert_key key) {
  auto& e = at(key);
  e.is = state::absent;
  e.expected = 0;
  e.keep = false;
  if (std::exchange(e.unused, false))
    counts_.wasted_bytes += bytes(key);
  leaving_ += bytes(key);
  order(supply_order::what::evict, key);
}

} // namespace coel::policy
