#include "actors/gate_claims.hpp"

#include "actors/gate_rows.hpp"
#include "policy/miss_choice.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

const expert_line& line_of(const gate_state& st, const tiering& from, expert_id e) {
  return from.board[size_t{index(st.config.layer)} * st.config.model->config().experts + index(e)];
}

/// Of a model that lent when it was asked (may_claim). The updater may end that at any moment: what
/// is claimed a moment later is served, or refused.
tiering& lender(const served_model& m) {
  return m.tiered ? *m.tiered : *m.pool;
}

bool is_open(const gate_claim& c) {
  return c.lent < c.experts.size();
}

/// Of what its lender has in memory at this moment, and of what has to be read.
void count_rows(const gate_state& st, const tiering& from, const expert_rows& e, layer_done& to) {
  (line_of(st, from, e.expert).bytes > 0 ? to.rows_here : to.rows_read) += e.rows.size();
}

} // namespace

bool may_claim(const gate_state& st, expert_id e) {
  const auto& m = *st.config.model;
  return index(e) < m.config().experts && !st.current->read_failed && lender_of(m);
}

std::optional<double> read_price(const gate_state& st, expert_id e) {
  if (!may_claim(st, e))
    return {};
  const auto& from = lender(*st.config.model);
  if (line_of(st, from, e).bytes > 0)
    return 0;
  if (auto us = from.demand_us.load())
    return static_cast<double>(us);
  policy::miss_question unknown;
  unknown.bytes = from.needs.read_bytes;
  return policy::wait_us(unknown);
}

void claim(gate_ptr self, std::vector<expert_rows> experts) {
  auto& st = self->state;
  auto& b = *st.current;
  const auto& m = *st.config.model;
  auto& from = lender(m);
  gate_claim c{from.next_step++, from.supplier, b.tasks.size(), {}, 0, 0, experts.empty()};
  for (auto& e : experts) {
    count_rows(st, from, e, b.report);
    c.experts.push_back({e.expert, static_cast<uint32_t>(e.rows.size())});
    b.tasks.push_back(task_for(m, b.work, std::move(e)));
  }
  self->send(c.from, expert_claim{c.step, st.config.layer, b.work.rows, c.experts});
  b.claims.push_back(std::move(c));
}

size_t lent_end(const gate_batch& b) {
  for (const auto& c : b.claims)
    if (is_open(c))
      return c.first + c.lent;
  return b.tasks.size();
}

bool claims_heard(const gate_batch& b) {
  return std::all_of(b.claims.begin(), b.claims.end(), [](const auto& c) { return c.heard; });
}

gate_claim* take_lent(gate_state& st, const experts_lent& what) {
  if (!st.current)
    return nullptr;
  auto& b = *st.current;
  auto c = std::find_if(b.claims.begin(), b.claims.end(),
                        [&](const auto& x) { return x.step == what.step; });
  if (c == b.claims.end())
    return nullptr;
  c->heard = true;
  for (const auto& l : what.next)
    if (is_open(*c))
      b.tasks[c->first + c->lent++].expert = l.weights;
  return &*c;
}

std::vector<expert_rows> give_up_rest(gate_batch& b, gate_claim& c) {
  std::vector<expert_rows> rest;
  for (size_t i = c.lent; i < c.experts.size(); ++i) {
    auto& task = b.tasks[c.first + i]; // without an expert it is passed over
    rest.push_back({c.experts[i].expert, task.rows, task.weights});
  }
  c.experts.resize(c.lent);
  return rest;
}

void tell_ran(gate_ptr self) {
  auto& b = *self->state.current;
  if (b.tasks_run == b.tasks.size())
    return; // all of them: the end says so
  for (auto& c : b.claims) {
    auto now = std::clamp(b.tasks_run, c.first, c.first + c.lent) - c.first;
    if (auto more = static_cast<uint32_t>(now - std::exchange(c.ran, now)))
      self->send(c.from, experts_ran{c.step, more, false, 0});
  }
}

void end_claims(gate_ptr self) {
  auto& b = *self->state.current;
  auto stall = b.report.stall_us; // told once
  for (const auto& c : b.claims)
    self->send(c.from, experts_ran{c.step, 0, true, std::exchange(stall, 0)});
}

} // namespace coel::actors
