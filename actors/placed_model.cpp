#include "actors/placed_model.hpp"

#include "model/weights.hpp"
#include "policy/expert_moves.hpp"
#include "policy/popularity.hpp"

#include <algorithm>

namespace coel::actors {

namespace {

uint64_t largest_expert(const served_model& m) {
  uint64_t largest = 1;
  for (uint32_t l = 0; l < m.config().layers; ++l)
    for (uint32_t e : {0u, m.experts_per_layer - 1})
      if (auto bytes = model::expert_file_bytes(
              *m.source, {static_cast<layer_id>(l), static_cast<expert_id>(e)}))
        largest = std::max(largest, *bytes);
  return largest;
}

} // namespace

expert_key placed_model::key_of(size_t item) const {
  auto per_layer = hosted.model->experts_per_layer;
  return {static_cast<layer_id>(item / per_layer), static_cast<expert_id>(item % per_layer)};
}

placed_model place_model(const hosted_model& hosted) {
  placed_model m;
  m.hosted = hosted;
  m.expert_bytes = largest_expert(*hosted.model);
  m.holds = m.plan =
      bitmap(size_t{hosted.model->config().layers} * hosted.model->experts_per_layer);
  return m;
}

const model_record* record_of(const member& who, const placed_model& m) {
  if (!who.up || !who.record)
    return nullptr;
  for (const auto& r : who.record->models)
    if (r.hash == m.hosted.model->hash && r.holds.size() == m.items())
      return &r;
  return nullptr;
}

bool held_by_others(const std::vector<member>& members, const placed_model& m, size_t item) {
  for (const auto& who : members)
    if (const auto* r = record_of(who, m); r && !who.record->draining && r->holds.test(item))
      return true;
  return false;
}

namespace {

/// And is to keep it: two nodes never give the same expert up for each other's sake.
bool kept_by_others(const std::vector<member>& members, const placed_model& m, size_t item) {
  for (const auto& who : members) {
    const auto* r = record_of(who, m);
    auto plan = m.plans.find(who.key);
    if (r && !who.record->draining && r->holds.test(item) && plan != m.plans.end() &&
        plan->second.test(item))
      return true;
  }
  return false;
}

} // namespace

bool lacks(const std::vector<member>& members, const placed_model& m) {
  for (size_t i = 0; i < m.items(); ++i)
    if (m.plan.test(i) && !m.holds.test(i) && !held_by_others(members, m, i))
      return true;
  return false;
}

bitmap announced(const placed_model& m) {
  auto holds = m.holds;
  for (const auto& [item, since] : m.retiring)
    holds.set(item, false);
  return holds;
}

bitmap asked_of(const std::vector<member>& members, const placed_model& m, const member& who,
                const model_record& r) {
  auto holds = r.holds;
  for (size_t i = 0; who.record->draining && i < m.items(); ++i)
    if (holds.test(i) && (m.holds.test(i) || held_by_others(members, m, i)))
      holds.set(i, false);
  return holds;
}

namespace {

/// Where some home reads what no node holds; what every token uses is never read.
bool can_be_left(const placed_model& m, size_t item) {
  const auto& model = *m.hosted.model;
  return m.pool.on && item % model.experts_per_layer < model.config().experts;
}

} // namespace

bool left_to_disks(const placed_model& m, size_t item) {
  if (!can_be_left(m, item) || m.plan.test(item))
    return false;
  return std::none_of(m.plans.begin(), m.plans.end(),
                      [&](const auto& p) { return p.second.test(item); });
}

bool may_go(const std::vector<member>& members, const placed_model& m, size_t item) {
  return kept_by_others(members, m, item) || left_to_disks(m, item) ||
         (m.room == m.space && can_be_left(m, item));
}

size_t uncovered(const placed_model& m) {
  size_t n = 0;
  for (size_t i = 0; i < m.items(); ++i) {
    bool held = left_to_disks(m, i);
    for (const auto& [host, holds] : m.routed)
      held |= holds.test(i);
    n += !held;
  }
  return n;
}

std::vector<size_t> wanted(const placed_model& m) {
  return policy::wanted(m.plan, m.holds, m.loading);
}

std::vector<uint8_t> quantised_use(const placed_model& m) {
  std::vector<uint8_t> all(m.items());
  auto per_layer = m.hosted.model->experts_per_layer;
  for (size_t i = 0; i < all.size(); ++i) {
    bool shared = i % per_layer >= m.hosted.model->config().experts;
    double here = i < m.popularity.size() ? m.popularity[i] : 0;
    all[i] = policy::quantise_popularity(shared ? 1 : here);
  }
  return all;
}

} // namespace coel::actors
