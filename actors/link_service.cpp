#include "actors/link_service.hpp"

#include "actors/errors.hpp"

#include <caf/all.hpp>

namespace coel::actors {

using std::chrono::microseconds;

void answer_failure(link_ptr self, uint64_t id, const error& why) {
  send(self->state, net::encode(net::failure_frame{id, why}));
}

void help_with_experts(link_ptr self, net::dispatch_frame asked) {
  auto& st = self->state;
  auto hosted = st.config.models->with(asked.head.model);
  if (!hosted)
    return answer_failure(self, asked.head.id,
                          {ec::unknown_model, "this node does not run that model"});
  auto head = asked.head;
  remote_dispatch work{head.model,
                       head.layer,
                       head.rows,
                       head.hidden,
                       std::move(asked.activations),
                       std::move(asked.experts),
                       microseconds(head.patience_us)};
  self->request(hosted->helper, caf::infinite, std::move(work))
      .then(
          [self, head](const partial_sum& sum) {
            auto& now = self->state;
            auto measured = now.cost.measure();
            if (!net::all_finite(sum.values))
              return answer_failure(self, head.id,
                                    {ec::internal, "its experts' sum of layer " +
                                                       to_string(head.layer) +
                                                       " is not a finite number"});
            net::sum_frame answer{head.id,     head.rows,  head.hidden, head.wire,
                                  sum.wait_us, sum.run_us, {}};
            send(now, net::encode(answer, sum.values));
          },
          [self, id = head.id](caf::error& why) { answer_failure(self, id, from_caf(why)); });
}

void help_with_output(link_ptr self, net::output_frame asked) {
  auto& st = self->state;
  const auto& head = asked.head;
  auto hosted = st.config.models->with(head.model);
  if (!hosted)
    return answer_failure(self, head.id, {ec::unknown_model, "this node does not run that model"});
  remote_output work{head.model,
                     head.rows,
                     head.hidden,
                     head.first,
                     head.end,
                     std::move(asked.activations),
                     microseconds(head.patience_us)};
  self->request(hosted->helper, caf::infinite, std::move(work))
      .then(
          [self, id = head.id, rows = head.rows,
           columns = head.end - head.first](const partial_sum& sum) {
            auto& now = self->state;
            auto measured = now.cost.measure();
            if (!net::all_finite(sum.values))
              return answer_failure(self, id, {ec::internal, "its logits are not finite numbers"});
            // What the user sees is not rounded for the wire.
            net::sum_frame answer{id,          rows,       columns, net::wire_type::f32,
                                  sum.wait_us, sum.run_us, {}};
            send(now, net::encode(answer, sum.values));
          },
          [self, id = head.id](caf::error& why) { answer_failure(self, id, from_caf(why)); });
}

namespace {

/// Tokens that this home routed, for the plans of another.
void serve_routing(link_ptr self, const net::want_frame& want) {
  auto hosted = self->state.config.models->with(want.model);
  if (!hosted || !hosted->scheduler)
    return answer_failure(self, want.id, {ec::unknown_model, "it is no home of that model"});
  self->request(hosted->scheduler, caf::infinite, atom::sample::value)
      .then(
          [self, id = want.id](const routing_sample_ptr& sample) {
            auto file = policy::encode_routing(*sample, net::max_block_bytes);
            net::block_frame head;
            head.id = id;
            head.total = file.size();
            send(self->state, net::encode(head, std::as_bytes(std::span(file))));
          },
          [self, id = want.id](caf::error& why) { answer_failure(self, id, from_caf(why)); });
}

} // namespace

/// A neighbour asks for a few at once; whoever asks for more must not keep those of others waiting.
void serve_block(link_ptr self, const net::want_frame& want) {
  if (want.file == net::want_frame::routing_file)
    return serve_routing(self, want);
  auto& st = self->state;
  if (st.serving >= st.config.max_served)
    return answer_failure(self, want.id,
                          {ec::busy, "it waits for as many parts of files as a link may"});
  ++st.serving;
  self->request(st.config.library, caf::infinite,
                file_want{want.model, want.file, want.offset, want.length})
      .then(
          [self, id = want.id](const file_block& block) {
            --self->state.serving;
            net::block_frame head;
            head.id = id;
            head.total = block.total;
            send(self->state, net::encode(head, block.bytes));
          },
          [self, id = want.id](caf::error& why) {
            --self->state.serving;
            answer_failure(self, id, from_caf(why));
          });
}

} // namespace coel::actors
