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

std::optional<error> reason_to_refuse(const helper_state& st, const remote_output& ask) {
  const auto& m = *st.config.model;
  if (ask.model != m.hash)
    return error{ec::unknown_model, "this node does not run that model"};
  if (ask.hidden != m.config().hidden || ask.rows == 0 || ask.rows > st.config.max_output_rows ||
      ask.activations.size() != size_t{ask.rows} * ask.hidden || ask.first >= ask.end ||
      ask.end > m.config().vocab || ask.first % compute::projection_unit != 0)
    return error{ec::bad_frame, "columns asked for do not fit the model's output matrix"};
  if (!m.dense.output)
    return error{ec::helper_only, "this node has experts only, and no output matrix"};
  if (st.jobs.size() >= st.config.max_in_flight)
    return error{ec::busy, "this node has all the dispatches that it can hold"};
  return {};
}

/// The smallest spare buffer that is large enough, or a new one.
result<compute::buffer_ptr> buffer_of(helper_state& st, size_t bytes) {
  auto best = st.spare.end();
  for (auto b = st.spare.begin(); b != st.spare.end(); ++b)
    if ((*b)->size_bytes() >= bytes &&
        (best == st.spare.end() || (*b)->size_bytes() < (*best)->size_bytes()))
      best = b;
  if (best == st.spare.end())
    return st.config.model->device->allocate(bytes);
  std::swap(*best, st.spare.back());
  auto found = std::move(st.spare.back());
  st.spare.pop_back();
  return found;
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
  return {ec::bad_file, "it computed a value that is infinite or not a number: its copy of '" +
                            m.name + "' may be damaged, so fetch or copy the model there anew"};
}

void note_cost(const helper_state& st, const job& j, double us) {
  auto& costs = *st.config.model->costs;
  if (j.end)
    costs.ran_columns(st.config.self, j.end - j.first, j.rows, us);
  else
    costs.ran(st.config.self, j.tasks.size(), j.expert_rows, us);
}

/// The sums, or the columns asked for without the others.
std::vector<float> values_of(const helper_state& st, const job& j) {
  const auto& m = *st.config.model;
  size_t width = j.end ? j.end - j.first : m.config().hidden;
  size_t stride = j.end ? m.config().vocab : width;
  std::vector<float> values(j.rows * width);
  const float* from = j.out->f32() + j.first;
  for (size_t r = 0; r < j.rows; ++r)
    m.device->read(values.data() + r * width, from + r * stride, width * sizeof(float));
  return values;
}

void answer(self_ptr self, uint64_t number, const compute::completion_info& info) {
  auto& st = self->state;
  auto& j = st.jobs.at(number);
  if (!info.outcome) {
    j.promise.deliver(to_caf(info.outcome.err()));
    return close(st, number);
  }
  note_cost(st, j, static_cast<double>(info.busy_us));
  partial_sum sum;
  sum.values = values_of(st, j);
  if (!all_finite(sum.values)) {
    j.promise.deliver(to_caf(not_finite(*st.config.model)));
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
  compute::rows_f32 in{j.in->f32(), j.rows, hidden};
  compute::command_list list;
  if (j.end)
    list = st.config.model->graph().output(
        in, {j.out->f32(), j.rows, st.config.model->config().vocab}, j.first, j.end);
  else
    list.push_back(compute::run_experts{in, j.tasks, {j.out->f32(), j.rows, hidden}});
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
  job made{number, promise, *in, *out, ask.rows};
  made.arrived = steady::now();
  st.jobs.emplace(number, std::move(made));
  lease_experts(self, number, ask);
  run(self, number); // for a dispatch without experts
  return promise;
}

caf::result<partial_sum> help(self_ptr self, const remote_output& ask) {
  auto& st = self->state;
  if (auto why = reason_to_refuse(st, ask)) {
    ++st.refused;
    return to_caf(*why);
  }
  const auto& m = *st.config.model;
  size_t bytes = ask.activations.size() * sizeof(float);
  auto in = buffer_of(st, bytes);
  auto out = buffer_of(st, size_t{ask.rows} * m.config().vocab * sizeof(float));
  if (!in || !out)
    return to_caf(in ? out.err() : in.err());
  m.device->write((*in)->data(), ask.activations.data(), bytes);
  auto number = ++st.next;
  ++st.dispatches;
  auto promise = self->make_response_promise<partial_sum>();
  job made{number, promise, *in, *out, ask.rows, ask.first, ask.end};
  made.arrived = steady::now();
  st.jobs.emplace(number, std::move(made));
  run(self, number);
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
      [self](const remote_output& ask) -> caf::result<partial_sum> {
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
