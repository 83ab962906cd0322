#include "actors/link_questions.hpp"

#include "actors/errors.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

using std::chrono::microseconds;

constexpr std::chrono::seconds block_patience{20};

template <class Answer>
std::optional<link_state::pending<Answer>>
settle(std::unordered_map<uint64_t, link_state::pending<Answer>>& waiting, uint64_t id) {
  auto at = waiting.find(id);
  if (at == waiting.end())
    return {}; // late: given up before
  auto found = std::move(at->second);
  waiting.erase(at);
  return found;
}

/// A sum that cannot be used fails its dispatch, whose rows the gate takes elsewhere. What else is
/// asked of the neighbour may still come right.
void discard_sum(link_ptr self, link_state::pending<partial_sum>& asked, const std::string& why) {
  auto& st = self->state;
  ++st.counts.bad_frames;
  ++st.counts.failed;
  asked.promise.deliver(to_caf({ec::bad_frame, who(st) + ": its sum is discarded: " + why}));
}

template <class Answer>
void fail_all(std::unordered_map<uint64_t, link_state::pending<Answer>>& waiting,
              const error& why) {
  auto lost = std::exchange(waiting, {});
  for (auto& [id, one] : lost)
    one.promise.deliver(to_caf(why));
}

template <class Answer>
size_t give_up_late_of(const link_state& st,
                       std::unordered_map<uint64_t, link_state::pending<Answer>>& waiting) {
  auto now = steady::now();
  std::vector<uint64_t> late;
  for (const auto& [id, one] : waiting)
    if (now >= one.until)
      late.push_back(id);
  for (auto id : late)
    settle(waiting, id)
        ->promise.deliver(to_caf({ec::deadline, who(st) + " did not answer in time"}));
  return late.size();
}

uint32_t wire_patience(microseconds patience) {
  return static_cast<uint32_t>(std::min<int64_t>(patience.count(), UINT32_MAX));
}

/// Why nothing can be asked of the neighbour now, if so.
std::optional<error> reason_not_to_ask(const link_state& st) {
  if (!is_up(st))
    return error{ec::io, who(st) + " is not connected"};
  if (st.sums.size() >= st.config.max_pending)
    return error{ec::busy, who(st) + " owes answers to as many dispatches as a link may have"};
  return {};
}

/// Sends a frame that a sum [rows, width] answers.
caf::result<partial_sum> ask_for_sum(link_ptr self, uint64_t id, zmq::message_t message,
                                     uint32_t rows, uint32_t width, microseconds patience) {
  auto& st = self->state;
  auto bytes = message.size();
  if (!send(st, std::move(message)))
    return to_caf({ec::busy, "the connection to " + who(st) + " is full"});
  ++st.counts.dispatches;
  auto now = steady::now();
  auto promise = self->make_response_promise<partial_sum>();
  st.sums.emplace(
      id, link_state::pending<partial_sum>{promise, now, now + patience, bytes, rows, width});
  return promise;
}

} // namespace

caf::result<partial_sum> ask_for_experts(link_ptr self, const remote_dispatch& ask) {
  auto& st = self->state;
  if (auto why = reason_not_to_ask(st))
    return to_caf(*why);
  net::dispatch_head head{++st.next,
                          ask.model,
                          ask.layer,
                          ask.rows,
                          ask.hidden,
                          st.config.wire,
                          wire_patience(ask.patience)};
  return ask_for_sum(self, head.id, net::encode(head, ask.activations, ask.experts), ask.rows,
                     ask.hidden, ask.patience);
}

caf::result<partial_sum> ask_for_output(link_ptr self, const remote_output& ask) {
  auto& st = self->state;
  if (auto why = reason_not_to_ask(st))
    return to_caf(*why);
  net::output_head head{++st.next, ask.model, ask.rows,       ask.hidden,
                        ask.first, ask.end,   st.config.wire, wire_patience(ask.patience)};
  return ask_for_sum(self, head.id, net::encode(head, ask.activations), ask.rows,
                     ask.end - ask.first, ask.patience);
}

caf::result<file_block> ask_for_block(link_ptr self, const file_want& ask) {
  auto& st = self->state;
  net::want_frame frame{++st.next, ask.model, ask.file, ask.offset, ask.length};
  if (!is_up(st) || !send(st, net::encode(frame)))
    return to_caf({ec::io, who(st) + " is not connected"});
  auto now = steady::now();
  auto promise = self->make_response_promise<file_block>();
  st.blocks.emplace(frame.id,
                    link_state::pending<file_block>{promise, now, now + block_patience, 0});
  return promise;
}

void sum_came(link_ptr self, net::sum_frame sum, size_t frame_bytes) {
  auto waiting = settle(self->state.sums, sum.id);
  if (!waiting)
    return;
  if (sum.rows != waiting->rows || sum.hidden != waiting->hidden)
    return discard_sum(self, *waiting, "it has another shape than was asked for");
  waiting->promise.deliver(
      partial_sum{std::move(sum.values), sum.wait_us, sum.run_us, waiting->bytes + frame_bytes});
}

void block_came(link_ptr self, net::block_frame block, size_t frame_bytes) {
  auto& st = self->state;
  auto waiting = settle(st.blocks, block.id);
  if (!waiting)
    return;
  auto now = steady::now();
  st.goodput.add(frame_bytes, std::chrono::duration_cast<microseconds>(now - waiting->sent),
                 std::chrono::duration_cast<microseconds>(now.time_since_epoch()));
  waiting->promise.deliver(file_block{block.total, std::move(block.bytes)});
}

void failure_came(link_ptr self, const net::failure_frame& failure) {
  auto& st = self->state;
  auto why = error{failure.why.code, who(st) + ": " + failure.why.message};
  if (auto waiting = settle(st.sums, failure.id)) {
    ++st.counts.failed;
    waiting->promise.deliver(to_caf(why));
  } else if (auto block = settle(st.blocks, failure.id)) {
    block->promise.deliver(to_caf(why));
  } else if (auto open = settle(st.opens, failure.id)) {
    open->promise.deliver(to_caf(why));
  }
}

void unusable_sum_came(link_ptr self, uint64_t id, const std::string& why) {
  if (auto waiting = settle(self->state.sums, id))
    discard_sum(self, *waiting, why);
  else
    ++self->state.counts.bad_frames;
}

void give_up_late(link_state& st) {
  st.counts.late += give_up_late_of(st, st.sums);
  give_up_late_of(st, st.blocks);
  give_up_late_of(st, st.opens);
}

void fail_questions(link_state& st, const error& why) {
  fail_all(st.sums, why);
  fail_all(st.blocks, why);
  fail_all(st.opens, why);
}

} // namespace coel::actors
