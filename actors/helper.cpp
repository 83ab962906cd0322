#include "actors/helper.hpp"

#include "actors/errors.hpp"
#include "actors/lane.hpp"
#include "common/finite.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

using self_ptr = helper_actor::stateful_pointer<helper_state>;
using job = helper_state::job;

std::optional<error> reason_to_refuse(const helper_state& st, const remote_dispatch& ask) {
  const auto& m = *st.config.model;
  if (ask.model != m.hash)
    return error{ec::unknown_model, "this node does not run that model"};
  if (index(ask.layer) >= m.config().layers || ask.hidden != m.config().hidden || ask.rows == 0 ||
      ask.rows > st.config.max_rows || ask.activations.size() != size_t{ask.rows} * ask.hidden)
    return error{ec::bad_frame, "a dispatch does not fit the model's shape"};
  for (const auto& e : ask.experts)
    if (index(e.expert) >= m.experts_per_layer || e.weights.size() != e.rows.size())
      return error{ec::bad_frame, "a dispatch names experts that the model does not have"};
  if (st.jobs.size() >= st.config.max_in_flight)
    return error{ec::busy, "this node has all the dispatches that it can hold"};
  return {};
}

result<compute::buffer_ptr> buffer_of(helper_state& st, size_t bytes) {
  for (auto& b : st.spare)
    if (b->size_bytes() >= bytes) {
      auto found = std::move(b);
      b = std::move(st.spare.back());
      st.spare.pop_back();
      return found;
    }
  return st.config.model->device->allocate(bytes);
}

void keep(helper_state& st, compute::buffer_ptr buffer) {
  if (buffer && st.spare.size() < 2 * size_t{st.config.max_in_flight})
    st.spare.push_back(std::move(buffer));
}

void close(helper_state& st, uint64_t number) {
  auto at = st.jobs.find(number);
  keep(st, std::move(at->second.in));
  keep(st, std::move(at->second.out));
  st.jobs.erase(at);
}

/// A frame cannot carry it; another node's weights may be sound.
error not_finite(const served_model& m) {
  return {ec::bad_file, "experts gave a sum that is infinite or not a number: its copy of '" +
                            m.name + "' may be damaged, so fetch or copy the model there anew"};
}

void answer(self_ptr self, uint64_t number, const compute::completion_info& info) {
  auto& st = self->state;
  auto& j = st.jobs.at(number);
  if (!info.outcome) {
    j.promise.deliver(to_caf(info.outcome.err()));
    return close(st, number);
  }
  const auto& m = *st.config.model;
  m.costs->ran(st.config.self, j.tasks.size(), j.expert_rows, static_cast<double>(info.busy_us));
  partial_sum sum;
  sum.values.resize(size_t{j.rows} * m.config().hidden);
  m.device->read(sum.values.data(), j.out->data(), sum.values.size() * sizeof(float));
  if (!all_finite(sum.values)) {
    j.promise.deliver(to_caf(not_finite(m)));
    return close(st, number);
  }
  auto all = us_between(j.arrived, steady::now());
  sum.run_us = static_cast<uint32_t>(info.busy_us);
  sum.wait_us = static_cast<uint32_t>(all > info.busy_us ? all - info.busy_us : 0);
  j.promise.deliver(std::move(sum));
  close(st, number);
}

void run(self_ptr self, uint64_t number) {
  auto& st = self->state;
  auto& j = st.jobs.at(number);
  if (j.leases_due)
    return;
  if (!j.outcome.ok()) {
    j.promise.deliver(to_caf(j.outcome.err()));
    return close(st, number);
  }
  auto hidden = st.config.model->config().hidden;
  compute::command_list list;
  list.push_back(
      compute::run_experts{{j.in->f32(), j.rows, hidden}, j.tasks, {j.out->f32(), j.rows, hidden}});
  submit(*st.config.model->device, std::move(list), self->system(), self, std::pair(j.in, j.out),
         [number](const compute::completion_info& info) {
           return caf::make_message(atom::step::value, number, info);
         });
}

void lease_experts(self_ptr self, uint64_t number, const remote_dispatch& ask) {
  auto& st = self->state;
  auto& j = st.jobs.at(number);
  size_t first = size_t{index(ask.layer)} * st.config.model->experts_per_layer;
  for (const auto& e : ask.experts) {
    size_t slot = j.tasks.size();
    j.tasks.push_back({nullptr, e.rows, e.weights, nullptr});
    j.expert_rows += e.rows.size();
    ++j.leases_due;
    self->request(st.config.experts[first + index(e.expert)], caf::infinite, atom::acquire::value,
                  static_cast<uint32_t>(e.rows.size()))
        .then(
            [=](const lease& got) {
              auto& now = self->state.jobs.at(number);
              now.tasks[slot].expert = got.weights;
              --now.leases_due;
              run(self, number);
            },
            [=](caf::error& failure) {
              auto& now = self->state.jobs.at(number);
              now.outcome = from_caf(failure);
              --now.leases_due;
              run(self, number);
            });
  }
}

caf::result<partial_sum> help(self_ptr self, const remote_dispatch& ask) {
  auto& st = self->state;
  if (auto why = reason_to_refuse(st, ask)) {
    ++st.refused;
    return to_caf(*why);
  }
  size_t bytes = ask.activations.size() * sizeof(float);
  auto in = buffer_of(st, bytes), out = buffer_of(st, bytes);
  if (!in || !out)
    return to_caf(in ? out.err() : in.err());
  st.config.model->device->write((*in)->data(), ask.activations.data(), bytes);
  std::vector<std::byte> zeros(bytes);
  st.config.model->device->write((*out)->data(), zeros.data(), bytes);
  auto number = ++st.next;
  ++st.dispatches;
  auto promise = self->make_response_promise<partial_sum>();
  st.jobs.emplace(number, job{number, promise, *in, *out, ask.rows, 0, {}, 0, {}, steady::now()});
  lease_experts(self, number, ask);
  run(self, number); // for a dispatch without experts
  return promise;
}

} // namespace

helper_actor::behavior_type helper(self_ptr self, helper_config config) {
  self->state.config = std::move(config);
  return {
      [self](atom::status) {
        const auto& st = self->state;
        return st.cost.status(self, "helper", st.config.model->name);
      },
      [self](const remote_dispatch& ask) -> caf::result<partial_sum> {
        auto measured = self->state.cost.measure();
        return help(self, ask);
      },
      [self](atom::step, uint64_t number, const compute::completion_info& info) {
        auto measured = self->state.cost.measure();
        answer(self, number, info);
      },
  };
}

} // namespace coel::actors
