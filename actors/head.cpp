#include "actors/head.hpp"

#include "actors/errors.hpp"
#include "actors/lane.hpp"
#include "policy/column_split.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = head_actor::stateful_pointer<head_state>;
using std::chrono::microseconds;

/// Of more rows the logits take longer to travel than to compute.
constexpr size_t most_rows_shared = 16;
/// A neighbour is given up this much later than predicted.
constexpr double late_factor = 8;
constexpr microseconds least_patience{50'000};
constexpr microseconds longest_patience{5'000'000};

uint32_t vocab(const head_state& st) {
  return st.config.model->config().vocab;
}

uint32_t rows(const head_state& st) {
  return static_cast<uint32_t>(st.current->work.chosen.size());
}

compute::rows_f32 normed(const head_state& st) {
  return {st.current->work.buffers().chosen->f32(), rows(st), st.config.model->config().hidden};
}

void finish(self_ptr self) {
  auto done = std::move(*self->state.current);
  self->state.current.reset();
  done.promise.deliver(std::move(done.report));
}

void run_list(self_ptr self, compute::command_list list, uint32_t columns_here) {
  auto& st = self->state;
  st.current->running = true;
  st.current->columns_here = columns_here;
  submit(*st.config.model->device, std::move(list), self->system(), self, st.current->work.memory,
         [](const compute::completion_info& info) {
           return caf::make_message(atom::step::value, info);
         });
}

void run_here(self_ptr self) {
  auto& st = self->state;
  compute::rows_f32 logits{st.current->work.buffers().logits->f32(), rows(st), vocab(st)};
  compute::command_list list;
  uint32_t count = 0;
  for (auto c : std::exchange(st.current->todo, {})) {
    auto part = st.config.model->graph().output(normed(st), logits, c.first, c.end);
    std::move(part.begin(), part.end(), std::back_inserter(list));
    count += c.end - c.first;
  }
  run_list(self, std::move(list), count);
}

void advance(self_ptr self) {
  auto& b = *self->state.current;
  if (b.running)
    return;
  if (!b.todo.empty() && b.report.outcome.ok())
    return run_here(self);
  if (b.sums_due) {
    if (b.idle_since == steady::time_point{})
      b.idle_since = steady::now();
    return;
  }
  if (b.idle_since != steady::time_point{})
    b.report.network_us += us_between(b.idle_since, steady::now());
  finish(self);
}

void logits_arrived(self_ptr self, const policy::column_part& part, steady::time_point sent,
                    const partial_sum& sum) {
  auto& st = self->state;
  auto& b = *st.current;
  uint32_t count = part.end - part.first;
  for (uint32_t r = 0; r < rows(st); ++r)
    std::copy_n(sum.values.data() + size_t{r} * count, count,
                b.work.buffers().logits_row(r, vocab(st)) + part.first);
  auto took = us_between(sent, steady::now());
  auto there = uint64_t{sum.wait_us} + sum.run_us;
  auto& costs = *st.config.model->costs;
  costs.ran_columns(part.host, count, rows(st), sum.run_us);
  costs.columns_travelled(part.host, count, rows(st),
                          took > there ? static_cast<double>(took - there) : 0.0);
  b.report.wire_bytes += sum.wire_bytes;
  b.report.remote.push_back({part.host, static_cast<uint32_t>(us_between(b.began, sent)),
                             static_cast<uint32_t>(took), sum.wait_us, sum.run_us});
}

void logits_lost(self_ptr self, const policy::column_part& part, steady::time_point sent,
                 const error& why) {
  auto& st = self->state;
  if (why.code == ec::deadline)
    st.config.model->costs->columns_travelled(part.host, part.end - part.first, rows(st),
                                              static_cast<double>(us_between(sent, steady::now())));
  ++st.current->report.repeats;
  st.current->todo.push_back({part.first, part.end});
}

void ask_node(self_ptr self, const policy::column_part& part, remote_output ask) {
  auto& st = self->state;
  size_t values = size_t{ask.rows} * (part.end - part.first);
  ++st.current->sums_due;
  auto sent = steady::now();
  // No timer: the link answers, at the latest with `deadline` (see messages.hpp).
  self->request(st.config.view->links.at(part.host), caf::infinite, std::move(ask))
      .then(
          [=](const partial_sum& sum) {
            auto measured = self->state.cost.measure();
            --self->state.current->sums_due;
            if (sum.values.size() == values)
              logits_arrived(self, part, sent, sum);
            else
              logits_lost(self, part, sent,
                          {ec::bad_frame, "a node answered with logits of the wrong size"});
            advance(self);
          },
          [=](caf::error& failure) {
            auto measured = self->state.cost.measure();
            --self->state.current->sums_due;
            logits_lost(self, part, sent, from_caf(failure));
            advance(self);
          });
}

microseconds patience_for(const policy::column_part& part,
                          const std::vector<policy::column_cost>& costs) {
  for (const auto& c : costs)
    if (c.host == part.host) {
      double us = c.fixed_us + c.us_per_column * (part.end - part.first);
      return std::clamp(microseconds(static_cast<int64_t>(late_factor * us)), least_patience,
                        longest_patience);
    }
  return least_patience;
}

/// The rows have passed the norm: every node gets its columns.
void share_out(self_ptr self) {
  auto& st = self->state;
  auto& b = *st.current;
  const auto& m = *st.config.model;
  std::vector<node_id> hosts;
  for (const auto& [host, link] : st.config.view->links)
    if (!st.config.view->helpers.contains(host))
      hosts.push_back(host);
  auto own = m.costs->column_cost(st.config.self, st.config.self, rows(st));
  std::vector<policy::column_cost> others;
  others.reserve(hosts.size());
  for (auto host : hosts)
    others.push_back(m.costs->column_cost(st.config.self, host, rows(st)));
  b.report.alone_us = static_cast<uint64_t>(own.us_per_column * vocab(st));
  remote_output ask{m.hash, rows(st), m.config().hidden, 0, 0, {}, {}};
  for (const auto& part : policy::split_columns(vocab(st), compute::projection_unit, own, others)) {
    if (part.host == st.config.self) {
      b.todo.push_back({part.first, part.end});
      continue;
    }
    if (ask.activations.empty()) {
      ask.activations.resize(size_t{ask.rows} * ask.hidden);
      m.device->read(ask.activations.data(), normed(st).data,
                     ask.activations.size() * sizeof(float));
    }
    ask.first = part.first;
    ask.end = part.end;
    ask.patience = patience_for(part, others);
    ask_node(self, part, ask);
  }
  b.report.dispatch_us = us_between(b.began, steady::now());
  advance(self);
}

caf::result<layer_done> begin(self_ptr self, const head_work& work) {
  auto& st = self->state;
  if (st.current)
    return to_caf({ec::internal, "a head takes one batch at a time"});
  auto& b = st.current.emplace();
  b.work = work;
  b.began = steady::now();
  b.promise = self->make_response_promise<layer_done>();
  auto promise = b.promise;
  const auto& graph = st.config.model->graph();
  if (st.config.view->links.empty() || work.chosen.size() > most_rows_shared)
    run_list(self, graph.head(work.buffers(), work.rows, work.chosen), vocab(st));
  else
    run_list(self, graph.last_norm(work.buffers(), work.rows, work.chosen), 0);
  return promise;
}

void device_done(self_ptr self, const compute::completion_info& info) {
  auto& st = self->state;
  auto& b = *st.current;
  b.running = false;
  b.report.run_us += info.busy_us;
  if (!info.outcome) {
    b.report.outcome = info.outcome.err();
    return advance(self);
  }
  if (b.columns_here == 0)
    return share_out(self);
  st.config.model->costs->ran_columns(st.config.self, b.columns_here, rows(st),
                                      static_cast<double>(info.busy_us));
  advance(self);
}

} // namespace

head_actor::behavior_type head(self_ptr self, head_config config) {
  self->state.config = std::move(config);
  return {
      [self](atom::status) {
        const auto& st = self->state;
        return st.cost.status(self, "head", st.config.model->name);
      },
      [self](const head_work& work) -> caf::result<layer_done> {
        auto measured = self->state.cost.measure();
        return begin(self, work);
      },
      [self](atom::publish, const route_view_ptr& view) { self->state.config.view = view; },
      [self](atom::step, const compute::completion_info& info) {
        auto measured = self->state.cost.measure();
        device_done(self, info);
      },
  };
}

} // namespace coel::actors
