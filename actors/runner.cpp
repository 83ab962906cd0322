#include "actors/runner.hpp"

#include "actors/errors.hpp"
#include "actors/lane.hpp"
#include "actors/near_memory.hpp"
#include "actors/tiering.hpp"
#include "actors/whole_step.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = runner_actor::stateful_pointer<runner_state>;

void finish(self_ptr self) {
  auto done = std::move(*self->state.current);
  self->state.current.reset();
  done.promise.deliver(std::move(done.report));
}

void fail(self_ptr self, const error& why) {
  self->state.current->report.outcome = why;
  finish(self);
}

void run_list(self_ptr self, compute::command_list list) {
  auto& st = self->state;
  submit(*st.config.model->device, std::move(list), self->system(), self, st.current->work.memory,
         [](const compute::completion_info& info) {
           return caf::make_message(atom::step::value, info);
         });
}

void submit_attention(self_ptr self, compute::command_list before = {}) {
  auto& st = self->state;
  auto& b = *st.current;
  const auto& memory = b.work.memory;
  b.submitted = steady::now();
  auto list = st.config.model->graph().attention(memory->buffers, static_cast<layer_id>(b.layer),
                                                 b.work.rows, memory->cache.get(), b.work.segments);
  std::move(list.begin(), list.end(), std::back_inserter(before));
  run_list(self, std::move(before));
}

/// What a layer takes beside its experts: the gate neither ran them nor waited then.
void note_dense(const runner_state& st, const layer_done& done) {
  const auto& b = *st.current;
  auto gate_us = us_between(b.dispatched, steady::now());
  auto elsewhere = done.run_us + done.network_us + done.stall_us;
  st.config.model->costs->ran_layer(
      b.work.rows, static_cast<double>(us_between(b.submitted, b.dispatched)),
      static_cast<double>(gate_us - std::min(gate_us, elsewhere)), !done.remote.empty());
}

void layer_ran(self_ptr self, const layer_done& done) {
  auto& st = self->state;
  if (!done.outcome.ok())
    return fail(self, done.outcome.err());
  note_dense(st, done);
  auto& b = *st.current;
  auto& hops = b.report.hops;
  hops.push_back(hop_here("gate", b.layer, b.work.began, done.dispatch_us));
  hops.push_back(hop_here("experts", b.layer, b.work.began, done.run_us));
  add_network(b.report.network, hops, done, b.layer, b.work.began, b.dispatched);
  if (++b.layer < b.work.end)
    return submit_attention(self);
  finish(self);
}

/// With more rows in a step nearly all experts of a layer are chosen, and there is nothing to tell.
constexpr uint32_t most_told_rows = 16;

/// What has been chosen tells what deeper layers will need.
void tell_foreseer(self_ptr self, const int32_t* chosen) {
  const auto& b = *self->state.current;
  const auto& m = *self->state.config.model;
  const auto* lends = lender_of(m);
  if (!lends || b.work.rows > most_told_rows || b.work.sessions.size() != b.work.rows)
    return;
  layer_routed what{static_cast<layer_id>(b.layer),
                    b.work.rows,
                    {chosen, chosen + size_t{b.work.rows} * m.config().top_k},
                    b.work.sessions,
                    {}};
  what.residual.resize(size_t{what.rows} * m.config().hidden);
  m.device->read(what.residual.data(), b.work.memory->buffers.residual->data(),
                 what.residual.size() * sizeof(float));
  self->send(lends->foreseer, std::move(what));
}

void dispatch_layer(self_ptr self) {
  auto& st = self->state;
  auto& b = *st.current;
  const int32_t* chosen = b.work.memory->buffers.chosen_experts();
  b.report.chosen.insert(b.report.chosen.end(), chosen,
                         chosen + size_t{b.work.rows} * st.config.model->config().top_k);
  tell_foreseer(self, chosen);
  b.dispatched = steady::now();
  self->request(st.config.gates[b.layer], caf::infinite,
                layer_work{static_cast<layer_id>(b.layer), b.work.rows, b.work.memory})
      .then(
          [self](const layer_done& done) {
            auto measured = self->state.cost.measure();
            layer_ran(self, done);
          },
          [self](caf::error& failure) { fail(self, from_caf(failure)); });
}

/// In a cluster others want to know how fast experts run here, and only gates measure that.
constexpr uint64_t measured_each = 32;

bool begin_whole(self_ptr self) {
  auto& st = self->state;
  const auto& m = *st.config.model;
  if (++st.batches % measured_each == 0 && m.hash != hash256{})
    return false;
  auto list = whole_step(m, st.current->work);
  if (!list)
    return false;
  st.current->whole = true;
  run_list(self, std::move(*list));
  return true;
}

void end_whole(self_ptr self, uint64_t busy_us) {
  auto& st = self->state;
  auto& b = *st.current;
  b.report.chosen = chosen_by(*st.config.model, b.work);
  b.report.hops.push_back(hop_here("layers", b.work.first, b.work.began, busy_us));
  ++st.config.model->near->whole_steps;
  finish(self);
}

void device_done(self_ptr self, const compute::completion_info& info) {
  auto& b = *self->state.current;
  if (!info.outcome.ok())
    return fail(self, info.outcome.err());
  if (b.whole)
    return end_whole(self, info.busy_us);
  if (b.layer == b.work.end) // only embedded
    return finish(self);
  b.report.hops.push_back(hop_here("attention", b.layer, b.work.began, info.busy_us));
  dispatch_layer(self);
}

caf::result<layers_done> begin(self_ptr self, const layers_work& work) {
  auto& st = self->state;
  if (st.current)
    return to_caf({ec::internal, "a runner takes one batch at a time"});
  if (work.first > work.end || work.end > st.config.gates.size() ||
      (work.first == work.end && work.tokens.empty()))
    return to_caf({ec::internal, "a runner is given layers that the model does not have"});
  auto& b = st.current.emplace();
  b.work = work;
  b.layer = work.first;
  b.promise = self->make_response_promise<layers_done>();
  auto promise = b.promise;
  if (begin_whole(self))
    return promise;
  compute::command_list embed;
  if (!work.tokens.empty())
    embed = st.config.model->graph().embed(work.memory->buffers, work.tokens);
  if (work.first == work.end)
    run_list(self, std::move(embed));
  else
    submit_attention(self, std::move(embed));
  return promise;
}

} // namespace

hop hop_here(std::string_view actor, uint32_t layer, steady::time_point step_began,
             uint64_t took_us) {
  auto at = us_between(step_began, steady::now());
  return {actor,
          static_cast<uint16_t>(layer),
          static_cast<uint32_t>(at - std::min(at, took_us)),
          static_cast<uint32_t>(took_us),
          this_node,
          0};
}

void add_network(network_totals& to, std::vector<hop>& hops, const layer_done& done, uint32_t layer,
                 steady::time_point step_began, steady::time_point dispatched) {
  auto took = us_between(dispatched, steady::now());
  to.experts_us += took;
  to.waited_us += done.network_us;
  to.stall_us += done.stall_us;
  to.rows_here += done.rows_here;
  to.rows_away += done.rows_away;
  to.rows_read += done.rows_read;
  // without neighbours it was not predicted but seen
  to.alone_us += done.remote.empty() ? took : done.alone_us;
  to.rounds += !done.remote.empty();
  to.wire_bytes += done.wire_bytes;
  to.repeats += done.repeats;
  auto began = static_cast<uint32_t>(us_between(step_began, dispatched));
  for (const auto& h : done.remote)
    hops.push_back({"link", static_cast<uint16_t>(layer), began + h.at_us, h.took_us, h.node,
                    h.wait_us + h.run_us});
}

runner_actor::behavior_type runner(self_ptr self, runner_config config) {
  self->state.config = std::move(config);
  return {
      [self](atom::status) {
        const auto& st = self->state;
        return st.cost.status(self, "runner", st.config.model->name);
      },
      [self](const layers_work& work) -> caf::result<layers_done> {
        auto measured = self->state.cost.measure();
        return begin(self, work);
      },
      [self](atom::step, const compute::completion_info& info) {
        auto measured = self->state.cost.measure();
        device_done(self, info);
      },
  };
}

} // namespace coel::actors
