#include "net/app_clients.hpp"

#include <algorithm>

namespace coel::net {

misbehaviour::verdict misbehaviour::bad_message(steady_time now) {
  if (ignored(now))
    return verdict::ignore;
  auto earned = (now - refilled_) / refill;
  if (earned > 0) {
    allowance_ =
        static_cast<int>(std::min<int64_t>(burst, allowance_ + std::min<int64_t>(earned, burst)));
    refilled_ = now;
  }
  if (--allowance_ > 0)
    return verdict::answer;
  ignored_until_ = now + pause;
  allowance_ = burst / 2;
  refilled_ = ignored_until_;
  return verdict::answer_and_ignore;
}

bool backlog::push(entry one) {
  // An empty backlog takes any answer, so that the largest ones can be sent at all.
  bool full = entries_.size() >= limit_messages || bytes_ + one.payload.size() > limit_bytes;
  if (full && !entries_.empty())
    return false;
  bytes_ += one.payload.size();
  entries_.push_back(std::move(one));
  return true;
}

void backlog::pop() {
  bytes_ -= entries_.front().payload.size();
  entries_.pop_front();
}

void backlog::clear() {
  entries_.clear();
  bytes_ = 0;
}

void gather(whole_answer& answer, const token_reply& token) {
  answer.text += token.text;
  if (token.id < 0) // text that was held back
    return;
  answer.tokens.push_back(token.id);
  answer.logprobs.push_back(token.logprob);
}

} // namespace coel::net
