#include "actors/supplier_lower.hpp"

#include "actors/copy_maker.hpp"
#include "actors/foreseer.hpp"
#include "actors/lower_copies.hpp"
#include "policy/miss_ways.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using found = policy::expert_supply::found;
using state = policy::expert_supply::state;

policy::miss_rates rates_of(const supplier_state& st) {
  policy::miss_rates r;
  auto speed = st.config.model->costs->speed(this_node);
  r.run_fixed_us = speed.expert_us;
  r.run_row_us = speed.row_us;
  r.pack_us = st.pack_us;
  r.disk_bytes_per_s = st.reader->status().bytes_per_s;
  if (r.disk_bytes_per_s > 0 && st.alone_us > 0) {
    auto bytes = static_cast<double>(st.config.model->tiered->resident_bytes().front());
    r.disk_fixed_us = std::max(st.alone_us - st.pack_us - bytes / r.disk_bytes_per_s * 1e6, 0.0);
  }
  return r;
}

double under_way_us(const supplier_state& st, expert_key key) {
  for (const auto& [number, j] : st.jobs)
    if (j.key == key)
      return static_cast<double>(us_between(j.since, steady::now()));
  return 0;
}

/// Nobody has used what is in memory: the first turn of a model whose use is known from before.
std::vector<float> missed_before(const supplier_state& st) {
  const auto& m = *st.config.model;
  auto before = learnt_before(m);
  if (!before)
    return {};
  const auto& c = m.config();
  std::vector<std::pair<float, size_t>> all;
  for (uint32_t l = 0; l < c.layers; ++l)
    for (uint32_t e = 0; e < c.experts; ++e)
      all.emplace_back(before->frequency(static_cast<layer_id>(l))[e], size_t{l} * c.experts + e);
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<float> missed(all.size());
  uint64_t here = 0;
  for (const auto& [uses, at] : all)
    if (here += m.tiered->resident_bytes()[at]; here > m.tiered->plan.cache_bytes)
      missed[at] = uses;
  return missed;
}

} // namespace

std::vector<uint8_t> choose_lower(supplier_state& st, const expert_claim& what) {
  const auto& copies = st.config.model->tiered->lower;
  if (!copies)
    return {};
  const auto& m = *st.config.model;
  std::vector<policy::claimed_expert> claimed;
  std::vector<model::expert_ptr> there;
  for (const auto& e : what.experts) {
    expert_key key{what.layer, e.expert};
    auto is = st.supply->is(key);
    bool here = is == state::resident || is == state::packing;
    there.push_back(here ? nullptr : copies->lend(st.slot(key)));
    claimed.push_back({here, there.back() != nullptr, e.rows,
                       m.tiered->resident_bytes()[st.slot(key)],
                       is == state::reading ? under_way_us(st, key) : 0});
  }
  auto rates = rates_of(st);
  auto shared = m.experts_per_layer - m.config().experts; // slices, which all rows pass first
  auto first_us = shared * (rates.run_fixed_us + rates.run_row_us * what.rows);
  std::vector<uint8_t> lower;
  auto ways = policy::ways_of(claimed, rates, first_us);
  for (size_t i = 0; i < ways.size(); ++i) {
    lower.push_back(ways[i] == policy::miss_way::lower);
    if (lower.back())
      st.lower[what.step][what.experts[i].expert] = std::move(there[i]);
  }
  return lower;
}

void count_missed(supplier_state& st, const expert_claim& what, const std::vector<found>& how) {
  const auto& copies = st.config.model->tiered->lower;
  for (size_t i = 0; i < how.size(); ++i) {
    const auto& e = what.experts[i];
    st.counted.rows += e.rows;
    if (how[i] == found::lower)
      st.counted.lower_rows += e.rows;
    if (copies && (how[i] == found::lower || how[i] == found::missing || how[i] == found::coming))
      copies->missed(st.slot({what.layer, e.expert}));
  }
  if (copies && index(what.layer) + 1u == st.config.model->config().layers)
    copies->passed(what.rows);
}

model::expert_ptr take_lower(supplier_state& st, uint64_t step, expert_key key) {
  auto copies = st.lower.find(step);
  return copies == st.lower.end() ? nullptr : std::exchange(copies->second[key.expert], nullptr);
}

void spawn_copy_maker(supplier_ptr self) {
  auto& st = self->state;
  if (st.config.model->tiered->lower)
    st.copy_maker = self->spawn<caf::detached + caf::linked>(
        copy_maker, copy_maker_config{st.config.model, st.reader, missed_before(st)});
}

double answered_share(const tiering_status& counted) {
  uint64_t lower = 0, all = 0;
  for (const auto& l : counted.layers) {
    lower += l.lower;
    all += l.lower + l.misses + l.late;
  }
  return all ? static_cast<double>(lower) / static_cast<double>(all) : 0;
}

} // namespace coel::actors
