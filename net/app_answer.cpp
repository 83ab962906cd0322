#include "net/app_answer.hpp"

#include <algorithm>
#include <random>

namespace coel::net {

namespace {

using std::chrono::duration_cast;

uint64_t us_between(app_answer::time from, app_answer::time to) {
  return static_cast<uint64_t>(duration_cast<std::chrono::microseconds>(to - from).count());
}

uint32_t time_left(uint32_t deadline_ms, std::chrono::milliseconds passed) {
  constexpr int64_t least = 1; // 0 would be the node's default
  return static_cast<uint32_t>(std::max(least, int64_t{deadline_ms} - passed.count()));
}

} // namespace

app_answer::app_answer(generate_request request, time now)
    : request_(std::move(request)), begun_(now) {
  if (request_.sampling.seed == 0)
    request_.sampling.seed = std::random_device{}() | 1u;
}

generate_request app_answer::rest(time now) {
  held_.reset();
  ++asked_;
  auto out = request_;
  out.answered.insert(out.answered.end(), tokens_.begin(), tokens_.end());
  out.max_tokens -= static_cast<uint32_t>(std::min<size_t>(out.max_tokens, tokens_.size()));
  if (out.deadline_ms > 0)
    out.deadline_ms =
        time_left(out.deadline_ms, duration_cast<std::chrono::milliseconds>(now - begun_));
  return out;
}

bool app_answer::add(const token_reply& token, time now) {
  if (token.id < 0) {
    held_ = token;
    return false;
  }
  if (tokens_.empty())
    first_ = now;
  tokens_.push_back(token.id);
  return true;
}

timings app_answer::seen(time now) const {
  timings out;
  out.prefill_us = us_between(begun_, tokens_.empty() ? now : first_);
  out.decode_us = tokens_.empty() ? 0 : us_between(first_, now);
  return out;
}

done_reply app_answer::ended(done_reply last, time now) const {
  if (asked_ > 1)
    last.times = seen(now);
  return last;
}

done_reply app_answer::cancelled(time now) const {
  done_reply out;
  out.reason = finish_reason::cancelled;
  out.answer_tokens = static_cast<uint32_t>(request_.answered.size() + tokens_.size());
  out.seed = request_.sampling.seed;
  out.times = seen(now);
  return out;
}

} // namespace coel::net
