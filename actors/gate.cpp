#include "actors/gate.hpp"

#include "actors/errors.hpp"
#include "actors/lane.hpp"

#include <caf/all.hpp>

#include <numeric>

namespace coel::actors {

namespace {

using self_ptr = gate_actor::stateful_pointer<gate_state>;

/// Routed rows by expert, then every row for each slice of the shared expert. A slice's factor is
/// the shared gate, which stays on the device; a slice elsewhere needs its value.
std::vector<policy::expert_rows> rows_by_expert(const gate_config& c, const layer_work& w) {
  const auto& config = c.model->config();
  std::span<const int32_t> ids(w.buffers->chosen_experts(), size_t{w.rows} * config.top_k);
  std::span<const float> weights(w.buffers->chosen_weights(), ids.size());
  auto groups = policy::group_by_expert(ids, weights, w.rows, config.experts);
  std::vector<uint32_t> all(w.rows);
  std::iota(all.begin(), all.end(), 0u);
  for (uint32_t e = config.experts; e < c.model->experts_per_layer; ++e)
    groups.push_back({static_cast<expert_id>(e), all, {}});
  return groups;
}

bool is_shared(const gate_config& c, expert_id e) { return index(e) >= c.model->config().experts; }

compute::expert_task task_for(const gate_state& st, policy::expert_rows group) {
  const auto& c = st.config;
  compute::expert_task task{nullptr, std::move(group.rows), std::move(group.weights), nullptr};
  if (!is_shared(c, group.expert))
    return task;
  if (c.model->config().shared_gated)
    task.row_weights = st.current->work.buffers->shared_weight->f32();
  else
    task.weights.assign(task.rows.size(), 1.f);
  return task;
}

void finish(self_ptr self) {
  auto done = std::move(*self->state.current);
  self->state.current.reset();
  done.promise.deliver(std::move(done.report));
}

void fail(self_ptr self, const error& why) {
  auto& b = *self->state.current;
  if (b.report.outcome.ok())
    b.report.outcome = why;
}

/// Adds the sums of other nodes to the residual, once the device is through with the local part.
void add_sums(self_ptr self) {
  auto& st = self->state;
  auto& b = *st.current;
  auto hidden = st.config.model->config().hidden;
  size_t bytes = size_t{b.work.rows} * hidden * sizeof(float);
  auto& dev = *st.config.model->device;
  if (!st.arrived || st.arrived->size_bytes() < bytes) {
    auto memory = dev.allocate(bytes);
    if (!memory) {
      fail(self, memory.err());
      return finish(self);
    }
    st.arrived = *memory;
  }
  std::vector<float> total(b.sums.front());
  for (size_t s = 1; s < b.sums.size(); ++s)
    for (size_t i = 0; i < total.size(); ++i)
      total[i] += b.sums[s][i];
  b.sums.clear();
  dev.write(st.arrived->data(), total.data(), bytes);
  compute::command_list list;
  list.push_back(compute::add{{st.arrived->f32(), b.work.rows, hidden},
                              {b.work.buffers->residual->f32(), b.work.rows, hidden}});
  b.running = true;
  submit(dev, std::move(list), self->system(), self, [](const compute::completion_info& info) {
    return caf::make_message(atom::step::value, info);
  });
}

void advance(self_ptr self) {
  auto& st = self->state;
  auto& b = *st.current;
  if (b.leases_due || b.running)
    return;
  if (!b.report.outcome.ok()) {
    if (b.sums_due == 0)
      finish(self);
    return;
  }
  if (!b.tasks.empty()) {
    b.report.dispatch_us = us_between(b.began, steady::now());
    b.running = true;
    auto list = st.config.model->graph().experts(*b.work.buffers, b.work.rows, std::move(b.tasks));
    b.tasks.clear();
    return submit(*st.config.model->device, std::move(list), self->system(), self,
                  [](const compute::completion_info& info) {
                    return caf::make_message(atom::step::value, info);
                  });
  }
  if (b.sums_due)
    return;
  if (!b.sums.empty())
    return add_sums(self);
  finish(self);
}

void ask_expert(self_ptr self, policy::expert_rows group) {
  auto& b = *self->state.current;
  const auto& experts = self->state.config.experts;
  if (index(group.expert) >= experts.size() || !experts[index(group.expert)])
    return fail(self, {ec::expert_not_here, "expert " + to_string(expert_key{self->state.config.layer,
                                                                             group.expert}) +
                                                " is not hosted on this node"});
  size_t slot = b.tasks.size();
  auto rows = static_cast<uint32_t>(group.rows.size());
  auto who = group.expert;
  b.tasks.push_back(task_for(self->state, std::move(group)));
  ++b.leases_due;
  ++b.report.local_experts;
  self->request(experts[index(who)], caf::infinite, atom::acquire::value, rows)
      .then(
          [self, slot](const lease& got) {
            auto& now = *self->state.current;
            now.tasks[slot].expert = got.weights;
            --now.leases_due;
            advance(self);
          },
          [self](caf::error& failure) {
            fail(self, from_caf(failure));
            --self->state.current->leases_due;
            advance(self);
          });
}

void ask_node(self_ptr self, const policy::host_rows& host) {
  auto& st = self->state;
  auto& b = *st.current;
  auto link = st.config.links.find(host.host);
  if (link == st.config.links.end())
    return fail(self, {ec::expert_not_here, "node " + to_string(host.host) + " holds experts of layer " +
                                                to_string(st.config.layer) + " and there is no link to it"});
  auto hidden = st.config.model->config().hidden;
  remote_dispatch out{st.config.layer, b.work.rows, std::vector<float>(size_t{b.work.rows} * hidden), {}};
  auto& dev = *st.config.model->device;
  dev.read(out.activations.data(), b.work.buffers->normed->data(), out.activations.size() * sizeof(float));
  std::vector<float> shared(b.work.rows, 1.f);
  if (st.config.model->config().shared_gated)
    dev.read(shared.data(), b.work.buffers->shared_weight->data(), shared.size() * sizeof(float));
  for (const auto& group : host.experts)
    out.experts.push_back({group.expert, group.rows,
                           is_shared(st.config, group.expert) ? shared : group.weights});
  size_t slot = b.sums.size();   // summed in order of nodes, not of arrival
  b.sums.emplace_back();
  ++b.sums_due;
  ++b.report.remote_nodes;
  self->request(link->second, st.config.link_timeout, std::move(out))
      .then(
          [self, slot](const partial_sum& sum) {
            auto& now = *self->state.current;
            --now.sums_due;
            if (sum.values.size() == size_t{now.work.rows} * self->state.config.model->config().hidden)
              now.sums[slot] = sum.values;
            else
              fail(self, {ec::bad_frame, "a node answered a dispatch with a sum of the wrong size"});
            advance(self);
          },
          [self](caf::error& failure) {
            --self->state.current->sums_due;
            fail(self, from_caf(failure));
            advance(self);
          });
}

caf::result<layer_done> dispatch(self_ptr self, const layer_work& work) {
  auto& st = self->state;
  if (st.current)
    return to_caf({ec::internal, "a gate takes one batch at a time"});
  auto& b = st.current.emplace();
  b.work = work;
  b.began = steady::now();
  b.promise = self->make_response_promise<layer_done>();
  auto promise = b.promise;
  auto hosts = policy::group_by_host(*st.config.table, st.config.layer, rows_by_expert(st.config, work));
  for (auto& host : hosts)   // what leaves the node leaves first
    if (host.host != st.config.self)
      ask_node(self, host);
  for (auto& host : hosts)
    if (host.host == st.config.self)
      for (auto& group : host.experts)
        ask_expert(self, std::move(group));
  advance(self);   // answers are messages, so nothing has arrived yet: this only acts on failures
  return promise;
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
      [self](atom::step, const compute::completion_info& info) {
        auto measured = self->state.cost.measure();
        auto& b = *self->state.current;
        b.running = false;
        b.report.run_us += info.busy_us;
        if (!info.outcome)
          fail(self, info.outcome.err());
        advance(self);
      },
      [self](atom::details) -> caf::result<std::vector<expert_status>> { return ask_details(self); },
  };
}

} // namespace coel::actors
