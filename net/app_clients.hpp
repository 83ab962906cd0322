// What the app server remembers of each client: requests in flight, answers that wait for room in
// its socket, and its behaviour. Plain state; time is an argument.
#pragma once

#include "common/request.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

namespace coel::net {

using steady_time = std::chrono::steady_clock::time_point;

/// Allows a burst of bad messages, then one per second; beyond that a client is not heard for
/// `pause`. So an app with a bug gets its errors, and a flood of garbage costs next to nothing.
class misbehaviour {
 public:
  enum class verdict { answer, answer_and_ignore, ignore };

  static constexpr int burst = 16;
  static constexpr std::chrono::seconds refill{1};
  static constexpr std::chrono::seconds pause{5};

  bool ignored(steady_time now) const { return now < ignored_until_; }
  verdict bad_message(steady_time now);

 private:
  int allowance_ = burst;
  steady_time refilled_{};
  steady_time ignored_until_{};
};

/// A request that has been handed on and not been answered to the end.
struct open_request {
  bool delimited = false;
  std::optional<whole_answer> gathered; ///< set where the answer goes out in one piece
};

/// Answers that libzmq had no room for, in order.
class backlog {
 public:
  struct entry {
    std::string payload;
    bool delimited = false;
  };

  static constexpr size_t limit_messages = 4096;
  static constexpr size_t limit_bytes = 8u << 20;

  bool empty() const { return entries_.empty(); }
  size_t bytes() const { return bytes_; }
  const entry& front() const { return entries_.front(); }
  /// False: the client does not read; nothing was added.
  bool push(entry one);
  void pop();
  void clear();

 private:
  std::deque<entry> entries_;
  size_t bytes_ = 0;
};

/// Puts a token into the whole answer that is being gathered.
void gather(whole_answer& answer, const token_reply& token);

} // namespace coel::net
