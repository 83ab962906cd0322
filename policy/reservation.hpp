// Memory of helpers for a home's region in two phases, so that two homes never count on the same
// bytes: all helpers are asked, each keeps the bytes for a while, and only when all have said yes
// are they told to keep them for good (as in two-phase commit; Gray, 1978). What is kept for good
// is still a lease: a home that falls silent blocks nobody for longer than that.
//
// Both sides are state machines without clock or socket. Messages may be lost, delayed, doubled and
// reordered: every one may be heard twice, and ids of attempts are never used again.
#pragma once

#include "common/reservation_message.hpp"
#include "policy/neighbours.hpp"

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace coel::policy {

using coel::reservation_id;
using coel::reservation_message;

struct reservation_options {
  moment offer{5'000'000};    ///< a helper keeps an offer
  moment patience{3'000'000}; ///< a home waits for all answers of a phase; less than offer
  moment lease{30'000'000};   ///< a confirmed reservation lasts
  moment retry{250'000};      ///< between repeats of an unanswered message
  size_t remembered = 4096;   ///< ended attempts that a helper knows, to refuse late messages
};

/// A helper's bytes.
class reservation_book {
 public:
  explicit reservation_book(uint64_t capacity_bytes, reservation_options options = {})
      : capacity_(capacity_bytes), options_(options) {}

  /// The answer; `now` never goes back. Kinds that a helper sends are answered with gone.
  reservation_message hear(const reservation_message& m, moment now);
  void expire(moment now);
  /// Its link is lost: it cannot use what it was promised.
  void drop(const std::string& home);
  /// What was promised stays promised; less is offered from now on.
  void set_capacity(uint64_t bytes) { capacity_ = bytes; }

  uint64_t taken() const;     ///< offered and confirmed
  uint64_t confirmed() const; ///< of those
  uint64_t free() const { return capacity_ > taken() ? capacity_ - taken() : 0; }
  bool keeps(const reservation_id& id) const; ///< confirmed
  size_t size() const { return kept_.size(); }
  std::map<std::string, uint64_t> by_home() const; ///< bytes, offered and confirmed

 private:
  struct entry {
    uint64_t bytes = 0;
    double priority = 0;
    bool confirmed = false;
    moment until{0};
  };
  reservation_message offer(const reservation_message& m, moment now);
  bool make_room(uint64_t bytes, double priority);
  void forget(const reservation_id& id);

  uint64_t capacity_;
  reservation_options options_;
  std::map<reservation_id, entry> kept_;
  std::deque<reservation_id> ended_; // oldest first
};

/// A home's attempt to get a region.
class region_reservation {
 public:
  struct part {
    std::string node;
    uint64_t bytes = 0;
  };
  struct letter {
    std::string to;
    reservation_message message;
  };
  enum class state : uint8_t {
    offering,
    confirming,
    held,   ///< all of it, until expires()
    failed, ///< not all could be had; what was had is given back
    broken, ///< was held, and a part is not any more: plan again, then release
    released,
  };

  region_reservation(reservation_id id, std::vector<part> parts, double priority, moment now,
                     reservation_options options = {});

  std::vector<letter> hear(const std::string& from, const reservation_message& m, moment now);
  /// Repeats, gives up, renews. Call at least every `retry`.
  std::vector<letter> advance(moment now);
  std::vector<letter> release(moment now);

  state now_in() const { return state_; }
  /// Until when every helper keeps its part, if nothing more is heard.
  moment expires() const;
  const std::string& why() const { return why_; } ///< failed or broken: who, and what it said
  const reservation_id& id() const { return id_; }
  std::set<std::string> nodes() const;

 private:
  struct progress {
    uint64_t bytes = 0;
    bool answered = false;
    moment sent{-1}; // of the last message
    moment kept_until{0};
  };
  std::vector<letter> ask(moment now, bool all);
  std::vector<letter> give_back(moment now);
  std::vector<letter> turn(state next, moment now);
  bool all_answered() const;

  reservation_id id_;
  std::map<std::string, progress> parts_;
  double priority_;
  reservation_options options_;
  state state_ = state::offering;
  moment since_{0};
  std::string why_;
};

} // namespace coel::policy
