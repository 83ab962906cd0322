// An answer as far as it has come, and the request by which another node goes on with it. Plain
// state; time is an argument.
#pragma once

#include "common/request.hpp"

#include <chrono>
#include <cstdint>
#include <optional>

namespace coel::net {

class app_answer {
 public:
  using time = std::chrono::steady_clock::time_point;

  /// A request without a seed is given one: its draws must be the same at every node.
  app_answer(generate_request request, time now);

  /// What the next node is asked: the rest of the answer, within the rest of its time.
  generate_request rest(time now);

  /// A token arrived. False for text that the node held back to the end: it is kept until `done`
  /// tells that the end stands, because another node would hold it back again.
  bool add(const token_reply& token, time now);
  std::optional<token_reply> take_held() { return std::exchange(held_, std::nullopt); }

  /// The node's last reply; where several nodes answered, the times are those seen from here.
  done_reply ended(done_reply last, time now) const;
  /// The last reply of an answer that was cancelled and whose node is gone.
  done_reply cancelled(time now) const;

 private:
  timings seen(time now) const;

  generate_request request_;
  std::vector<int32_t> tokens_; // that came after those of the request
  std::optional<token_reply> held_;
  uint32_t asked_ = 0; // nodes
  time begun_, first_{};
};

} // namespace coel::net
