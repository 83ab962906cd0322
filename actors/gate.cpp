#include "actors/gate.hpp"

#include "actors/errors.hpp"
#include "actors/gate_bias.hpp"
#include "actors/gate_claims.hpp"
#include "actors/gate_rows.hpp"
#include "actors/lane.hpp"
#include "actors/near_memory.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = gate_ptr;
using groups = std::vector<expert_rows>;
using std::chrono::microseconds;

/// A neighbour whose every expert is also elsewhere is given up this much later than predicted.
constexpr double late_factor = 8;
constexpr microseconds least_patience{50'000};
/// Where nobody else could help, only the link's own death ends the wait.
constexpr microseconds longest_patience{30'000'000};
constexpr std::chrono::milliseconds homeless_retry{250};

void place(self_ptr self, groups experts);
void advance(self_ptr self);

void begin(self_ptr self, const layer_work& work, caf::typed_response_promise<layer_done> promise);

/// The last thing that a handler does: the next batch may begin here.
void finish(self_ptr self) {
  auto& st = self->state;
  end_claims(self);
  auto done = std::move(*st.current);
  st.current.reset();
  done.promise.deliver(std::move(done.report));
  if (st.queue.empty())
    return;
  auto next = std::move(st.queue.front());
  st.queue.pop_front();
  begin(self, next.first, std::move(next.second));
}

/// Answers to a batch that has failed come later than its end: they are nobody's.
bool is_current(self_ptr self, uint64_t batch) {
  const auto& current = self->state.current;
  return current && current->number == batch;
}

void fail(self_ptr self, const error& why) {
  auto& b = *self->state.current;
  b.homeless.clear();
  if (b.report.outcome.ok())
    b.report.outcome = why;
}

/// Why there is nobody to ask: the last word of those who hold it, or that nobody does.
error nobody_runs(const gate_state& st, const groups& missing) {
  if (st.current->read_failed)
    return st.current->last_failure;
  for (const auto& e : missing)
    for (auto host : st.config.view->table.hosts({st.config.layer, e.expert}))
      if (st.current->avoid.count(host))
        return st.current->last_failure;
  std::string which = to_string(expert_key{st.config.layer, missing.front().expert});
  if (missing.size() > 1)
    which += " and " + std::to_string(missing.size() - 1) + " more of its layer";
  auto waited = st.config.missing_patience.count();
  std::string when =
      waited ? " after " + std::to_string(waited) + " ms of waiting (--missing-patience-ms)" : "";
  if (st.config.view->links.empty())
    return {ec::expert_not_here, "expert " + which +
                                     " is not on this node, and no neighbour is linked" + when +
                                     ": start the nodes that hold it, and see coel status"};
  return {ec::expert_not_here,
          "no node holds expert " + which + when +
              ": start a node that can, or give the others more memory (--ram)"};
}

/// Damaged weights stay so: asking again would only take time.
bool may_recover(const error& why) {
  return why.code != ec::bad_file;
}

/// Sums of other nodes, in order of their dispatch and not of their arrival.
std::vector<float> total_of(const gate_state& st, size_t hidden) {
  const auto& b = *st.current;
  std::vector<float> total(b.work.rows * hidden);
  for (const auto& part : b.remote)
    for (size_t i = 0; i < part.rows.size(); ++i)
      for (size_t h = 0; h < hidden; ++h)
        total[part.rows[i] * hidden + h] += part.sum[i * hidden + h];
  return total;
}

void run_list(self_ptr self, compute::command_list list) {
  auto& st = self->state;
  st.current->running = true;
  submit(*st.config.model->device, std::move(list), self->system(), self,
         std::pair(st.current->work.memory, st.arrived), [](const compute::completion_info& info) {
           return caf::make_message(atom::step::value, info);
         });
}

/// Adds the sums of other nodes to the residual, once the device is through with the local part.
void add_sums(self_ptr self) {
  auto& st = self->state;
  auto& b = *st.current;
  auto hidden = st.config.model->config().hidden;
  size_t bytes = size_t{b.work.rows} * hidden * sizeof(float);
  auto& dev = *st.config.model->device;
  b.added = true;
  if (!st.arrived || st.arrived->size_bytes() < bytes) {
    auto memory = dev.allocate(bytes);
    if (!memory) {
      fail(self, memory.err());
      return finish(self);
    }
    st.arrived = *memory;
  }
  dev.write(st.arrived->data(), total_of(st, hidden).data(), bytes);
  compute::command_list list;
  list.push_back(compute::add{{st.arrived->f32(), b.work.rows, hidden},
                              {b.work.buffers().residual->f32(), b.work.rows, hidden}});
  run_list(self, std::move(list));
}

/// Tasks up to the first whose expert is still being read, or all. Sums are in order of the tasks,
/// so the rest waits its turn whoever comes first, and the answer does not depend on the disk.
size_t runnable_end(const gate_state& st) {
  const auto& b = *st.current;
  return b.leases_due || !claims_heard(b) ? b.tasks_run : lent_end(b);
}

void run_local(self_ptr self, size_t end) {
  auto& st = self->state;
  auto& b = *st.current;
  if (b.tasks_run == 0)
    b.report.dispatch_us = us_between(b.began, steady::now());
  auto stalled = std::exchange(b.stall_since, {});
  if (stalled != steady::time_point{})
    b.report.stall_us += us_between(stalled, steady::now());
  auto first = b.tasks.begin() + static_cast<std::ptrdiff_t>(b.tasks_run);
  auto last = b.tasks.begin() + static_cast<std::ptrdiff_t>(end);
  std::vector<compute::expert_task> tasks(std::make_move_iterator(first),
                                          std::make_move_iterator(last));
  std::erase_if(tasks, [](const auto& t) { return !t.expert; }); // their leases failed
  b.tasks_run = end;
  if (tasks.empty())
    return advance(self);
  b.experts_here = tasks.size();
  b.rows_here = 0;
  for (const auto& t : tasks)
    b.rows_here += t.rows.size();
  b.report.local_experts += static_cast<uint32_t>(b.experts_here);
  run_list(self, st.config.model->graph().experts(b.work.buffers(), b.work.rows, std::move(tasks)));
}

void advance(self_ptr self) {
  auto& b = *self->state.current;
  if (b.running) // the next batch may have the same memory
    return;
  if (!b.report.outcome.ok())
    return finish(self);
  if (auto end = runnable_end(self->state); end > b.tasks_run)
    return run_local(self, end);
  bool unread = lent_end(b) < b.tasks.size();
  if (b.leases_due || unread) {
    if (unread && claims_heard(b) && b.stall_since == steady::time_point{})
      b.stall_since = steady::now();
    return;
  }
  if (b.sums_due || !b.homeless.empty()) {
    if (b.idle_since == steady::time_point{})
      b.idle_since = steady::now();
    return;
  }
  if (b.idle_since != steady::time_point{})
    b.report.network_us += us_between(std::exchange(b.idle_since, {}), steady::now());
  if (!b.remote.empty() && !b.added)
    return add_sums(self);
  finish(self);
}

/// This node could not run it after all: another may.
void lost_lease(self_ptr self, expert_rows group, const error& why) {
  auto& st = self->state;
  if (st.config.missing_patience.count() == 0 && st.config.view->links.empty())
    return fail(self, why);
  auto& b = *st.current;
  b.avoid.insert(st.config.self);
  b.last_failure = why;
  if (!b.report.outcome.ok())
    return;
  groups again;
  again.push_back(std::move(group));
  place(self, std::move(again));
}

void ask_expert(self_ptr self, expert_rows group) {
  auto& st = self->state;
  auto& b = *st.current;
  size_t slot = b.tasks.size();
  auto rows = static_cast<uint32_t>(group.rows.size());
  auto who = st.config.experts[index(group.expert)];
  b.report.rows_here += rows;
  b.tasks.push_back(task_for(*st.config.model, b.work, group));
  ++b.leases_due;
  self->request(who, caf::infinite, atom::acquire::value, rows)
      .then(
          [self, slot, batch = b.number](const lease& got) {
            if (!is_current(self, batch))
              return;
            auto& now = *self->state.current;
            now.tasks[slot].expert = got.weights;
            --now.leases_due;
            advance(self);
          },
          [self, group = std::move(group), batch = b.number](caf::error& failure) {
            if (!is_current(self, batch))
              return;
            --self->state.current->leases_due;
            lost_lease(self, group, from_caf(failure));
            advance(self);
          });
}

void sum_arrived(self_ptr self, size_t part, steady::time_point sent, const partial_sum& sum) {
  auto& st = self->state;
  auto& b = *st.current;
  auto& to = b.remote[part];
  auto now = steady::now();
  auto took = us_between(sent, now);
  auto there = uint64_t{sum.wait_us} + sum.run_us;
  auto& costs = *st.config.model->costs;
  costs.ran(to.host, to.experts.size(), rows_of(to.experts), sum.run_us);
  costs.travelled(to.host, to.rows.size(), took > there ? static_cast<double>(took - there) : 0.0);
  to.sum = sum.values;
  b.report.rows_away += rows_of(to.experts);
  b.report.wire_bytes += sum.wire_bytes;
  b.report.remote.push_back({to.host, static_cast<uint32_t>(us_between(b.began, sent)),
                             static_cast<uint32_t>(took), sum.wait_us, sum.run_us});
}

/// Nothing of this part has been used: all of it is asked for again, elsewhere.
void sum_failed(self_ptr self, size_t part, steady::time_point sent, const error& why) {
  auto& st = self->state;
  auto& b = *st.current;
  auto& lost = b.remote[part];
  if (why.code == ec::deadline)
    st.config.model->costs->travelled(lost.host, lost.rows.size(),
                                      static_cast<double>(us_between(sent, steady::now())));
  b.avoid.insert(lost.host);
  b.last_failure = why;
  ++b.report.repeats;
  lost.rows.clear();
  if (b.report.outcome.ok())
    place(self, std::exchange(lost.experts, {}));
}

/// Who was late is known to be slow; of other failures nothing is learnt.
void settle_failure(self_ptr self, uint64_t ticket, steady::time_point sent, const error& why) {
  auto& costs = *self->state.config.model->costs;
  if (why.code == ec::deadline)
    costs.answered(ticket, static_cast<double>(us_between(sent, steady::now())), 0, 0);
  else
    costs.lost(ticket);
}

void ask_node(self_ptr self, policy::host_rows share, microseconds patience) {
  auto& st = self->state;
  auto& b = *st.current;
  auto out = share_for(*st.config.model, b.work, share.experts);
  out.message.patience = patience;
  size_t part = b.remote.size();
  size_t values = size_t{out.message.rows} * out.message.hidden;
  b.remote.push_back({share.host, std::move(out.rows), std::move(share.experts), {}});
  ++b.sums_due;
  auto batch = b.number;
  auto ticket = st.config.model->costs->sent(share.host, b.remote.back().experts.size(),
                                             rows_of(b.remote.back().experts));
  auto sent = steady::now();
  // No timer: the link answers every dispatch, at the latest with `deadline` (see link.hpp).
  self->request(st.config.view->links.at(share.host), caf::infinite, std::move(out.message))
      .then(
          [=](const partial_sum& sum) {
            auto measured = self->state.cost.measure();
            self->state.config.model->costs->answered(
                ticket, static_cast<double>(us_between(sent, steady::now())), sum.wait_us,
                sum.run_us);
            if (!is_current(self, batch))
              return;
            --self->state.current->sums_due;
            if (sum.values.size() == values)
              sum_arrived(self, part, sent, sum);
            else
              sum_failed(self, part, sent,
                         {ec::bad_frame, "a node answered with a sum of the wrong size"});
            advance(self);
          },
          [=](caf::error& failure) {
            auto measured = self->state.cost.measure();
            settle_failure(self, ticket, sent, from_caf(failure));
            if (!is_current(self, batch))
              return;
            --self->state.current->sums_due;
            sum_failed(self, part, sent, from_caf(failure));
            advance(self);
          });
}

bool has_other_host(const gate_state& st, expert_id e, node_id than) {
  const auto& view = *st.config.view;
  for (auto host : view.table.hosts({st.config.layer, e}))
    if (host != than && !st.current->avoid.count(host) &&
        (host == st.config.self || view.links.count(host)))
      return true;
  return false;
}

/// How long to wait for a share: long where some of it could be had nowhere else.
microseconds patience_for(const gate_state& st, const policy::host_rows& share,
                          const policy::host_cost& cost) {
  for (const auto& e : share.experts)
    if (!has_other_host(st, e.expert, share.host) && !may_claim(st, e.expert))
      return longest_patience;
  double us = cost.fixed_us + cost.wire_us_per_row * static_cast<double>(rows_of(share.experts)) +
              cost.speed.expert_us * static_cast<double>(share.experts.size()) +
              cost.speed.row_us * static_cast<double>(rows_of(share.experts));
  return std::clamp(microseconds(static_cast<int64_t>(late_factor * us)), least_patience,
                    longest_patience);
}

/// Rows of experts that nobody holds wait for a table that says otherwise, or for a host that
/// failed to be itself again.
void keep_waiting(self_ptr self, groups homeless) {
  auto& st = self->state;
  auto& b = *st.current;
  if (homeless.empty())
    return;
  auto why = nobody_runs(st, homeless);
  if (steady::now() - b.began >= st.config.missing_patience || !may_recover(why))
    return fail(self, why);
  std::move(homeless.begin(), homeless.end(), std::back_inserter(b.homeless));
  if (!std::exchange(b.waiting, true))
    self->delayed_send(self, homeless_retry, atom::give_up::value, b.number);
}

/// A supplier need not lend what lies in the device's own memory.
bool run_near(self_ptr self, expert_rows& group) {
  auto& st = self->state;
  const auto& m = *st.config.model;
  if (!m.near)
    return false;
  expert_key key{st.config.layer, group.expert};
  m.near->chosen(key, group.rows.size());
  auto there = m.near->lend(key);
  if (!there.weights)
    return false;
  auto& tasks = st.current->tasks;
  st.current->report.rows_here += group.rows.size();
  tasks.push_back(task_for(m, st.current->work, std::move(group)));
  tasks.back().expert = there.weights;
  return true;
}

void place_tiered(self_ptr self, groups experts) {
  groups routed;
  for (auto& e : experts)
    if (index(e.expert) >= self->state.config.model->config().experts)
      ask_expert(self, std::move(e));
    else if (!run_near(self, e))
      routed.push_back(std::move(e));
  if (!routed.empty())
    claim(self, std::move(routed));
}

/// What cannot be read here may be in somebody's memory.
void lost_claim(self_ptr self, gate_claim& what, const error& why) {
  auto& b = *self->state.current;
  if (self->state.config.model->tiered)
    return fail(self, why);
  b.read_failed = true;
  b.last_failure = why;
  auto rest = give_up_rest(b, what);
  if (b.report.outcome.ok())
    place(self, std::move(rest));
}

/// What comes for a batch that is over is nobody's.
void lent(self_ptr self, const experts_lent& what) {
  auto* claim = take_lent(self->state, what);
  if (!claim)
    return;
  if (what.failure)
    lost_claim(self, *claim, *what.failure);
  advance(self);
}

bool held_here(const gate_state& st, expert_id e) {
  const auto& hosts = st.config.view->table.hosts({st.config.layer, e});
  return std::find(hosts.begin(), hosts.end(), st.config.self) != hosts.end();
}

/// Of a cluster's home: experts that it holds, that it reads, and that nobody has.
void run_here(self_ptr self, groups experts) {
  groups read, homeless;
  for (auto& e : experts)
    if (!self->state.current->avoid.count(self->state.config.self) &&
        held_here(self->state, e.expert))
      ask_expert(self, std::move(e));
    else if (may_claim(self->state, e.expert))
      read.push_back(std::move(e));
    else
      homeless.push_back(std::move(e));
  if (!read.empty())
    claim(self, std::move(read));
  keep_waiting(self, std::move(homeless));
}

void place_here(self_ptr self, groups experts) {
  if (self->state.config.model->tiered)
    return place_tiered(self, std::move(experts));
  run_here(self, std::move(experts));
}

void place(self_ptr self, groups experts) {
  auto& st = self->state;
  auto& b = *st.current;
  const auto& view = *st.config.view;
  if ((view.links.empty() || view.alone) && !b.avoid.count(st.config.self)) // needs no plan
    return place_here(self, std::move(experts));
  std::vector<node_id> hosts{st.config.self};
  for (const auto& [host, link] : view.links)
    hosts.push_back(host);
  auto costs = st.config.model->costs->costs(st.config.self, hosts);
  policy::read_price reads = [&st](expert_id e) { return read_price(st, e); };
  auto plan = policy::split_rows({&view.table, st.config.layer, st.config.self, &costs, &b.avoid,
                                  st.config.model->costs->pick(), &reads},
                                 std::move(experts));
  if (!b.report.alone_us)
    b.report.alone_us = static_cast<uint64_t>(plan.alone_us);
  for (auto& share : plan.hosts) // what leaves the node leaves first
    if (share.host != st.config.self) {
      auto patience = patience_for(st, share, costs.at(share.host));
      ask_node(self, std::move(share), patience);
    }
  auto here = std::move(plan.nowhere);
  for (auto& share : plan.hosts)
    if (share.host == st.config.self)
      std::move(share.experts.begin(), share.experts.end(), std::back_inserter(here));
  std::sort(here.begin(), here.end(),
            [](const auto& x, const auto& y) { return x.expert < y.expert; });
  run_here(self, std::move(here));
}

void begin(self_ptr self, const layer_work& work, caf::typed_response_promise<layer_done> promise) {
  auto& st = self->state;
  auto& b = st.current.emplace();
  b.number = ++st.batches;
  b.work = work;
  b.began = steady::now();
  b.promise = std::move(promise);
  const auto& c = st.config;
  place(self, c.expert_bias > 0
                  ? near_rows_by_expert(*c.model, work, c.view->table, c.self, c.expert_bias)
                  : rows_by_expert(*c.model, work));
  if (auto* pool = lender_of(*c.model); pool && pool->is_pool && b.claims.empty())
    claim(self, {});
  advance(self); // answers are messages, so nothing has arrived yet: this only acts on failures
}

caf::result<layer_done> dispatch(self_ptr self, const layer_work& work) {
  auto& st = self->state;
  auto promise = self->make_response_promise<layer_done>();
  if (st.current)
    st.queue.emplace_back(work, promise);
  else
    begin(self, work, promise);
  return promise;
}

void place_homeless(self_ptr self) {
  auto& b = *self->state.current;
  b.avoid.clear();
  b.read_failed = false;
  place(self, std::exchange(b.homeless, {}));
  advance(self);
}

void device_done(self_ptr self, const compute::completion_info& info) {
  auto& st = self->state;
  auto& b = *st.current;
  b.running = false;
  if (!info.outcome)
    fail(self, info.outcome.err());
  tell_ran(self);
  if (auto experts = std::exchange(b.experts_here, 0)) {
    b.report.run_us += info.busy_us;
    if (info.outcome)
      st.config.model->costs->ran(st.config.self, experts, b.rows_here,
                                  static_cast<double>(info.busy_us));
  }
  advance(self);
}

caf::result<std::vector<expert_status>> ask_details(self_ptr self) {
  auto promise = self->make_response_promise<std::vector<expert_status>>();
  auto all = std::make_shared<std::vector<expert_status>>();
  auto left = std::make_shared<size_t>(self->state.config.experts.size());
  auto arrived = [promise, all, left]() mutable {
    if (--*left == 0)
      promise.deliver(std::move(*all));
  };
  for (const auto& e : self->state.config.experts)
    self->request(e, caf::infinite, atom::details::value)
        .then(
            [all, arrived](const expert_status& s) mutable {
              all->push_back(s);
              arrived();
            },
            [arrived](caf::error&) mutable { arrived(); });
  return promise;
}

} // namespace

gate_actor::behavior_type gate(self_ptr self, gate_config config) {
  self->state.config = std::move(config);
  return {
      [self](atom::status) {
        const auto& st = self->state;
        return st.cost.status(self, "gate " + to_string(st.config.layer), st.config.model->name);
      },
      [self](const layer_work& work) -> caf::result<layer_done> {
        auto measured = self->state.cost.measure();
        return dispatch(self, work);
      },
      [self](atom::publish, const route_view_ptr& view) {
        self->state.config.view = view;
        if (self->state.current && !self->state.current->homeless.empty())
          place_homeless(self);
      },
      [self](atom::give_up, uint64_t batch) {
        if (!is_current(self, batch))
          return;
        auto& current = self->state.current;
        current->waiting = false;
        if (!current->homeless.empty())
          place_homeless(self);
      },
      [self](const experts_lent& what) {
        auto measured = self->state.cost.measure();
        lent(self, what);
      },
      [self](atom::step, const compute::completion_info& info) {
        auto measured = self->state.cost.measure();
        device_done(self, info);
      },
      [self](atom::details) -> caf::result<std::vector<expert_status>> {
        return ask_details(self);
      },
  };
}

} // namespace coel::actors
