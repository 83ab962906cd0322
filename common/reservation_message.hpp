// What homes and helpers say to each other about memory (policy/reservation.hpp has the rules).
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>

namespace coel {

/// One attempt of one home.
struct reservation_id {
  std::string home;     ///< its public key
  uint64_t attempt = 0; ///< rises over the home's whole life, restarts too: microseconds of time do
  auto operator<=>(const reservation_id&) const = default;
};

struct reservation_message {
  enum class what : uint8_t {
    offer,     ///< home: keep `bytes` for me for a while
    accept,    ///< helper: kept
    reject,    ///< helper: no; `bytes` are free
    confirm,   ///< home: keep them for a lease; again and again while they are needed
    confirmed, ///< helper
    gone,      ///< helper: I do not keep them (any more)
    release,   ///< home: no longer needed
    released,  ///< helper
  } kind{};
  reservation_id id;
  uint64_t bytes = 0;
  double priority = 0; ///< of an offer: gain of the region times request rate; grows with attempts
  std::chrono::microseconds stamp{0}; ///< the home's time of sending, given back in replies
  bool operator==(const reservation_message&) const = default;
};

/// The others are a helper's answers.
inline bool said_by_home(reservation_message::what kind) {
  using what = reservation_message::what;
  return kind == what::offer || kind == what::confirm || kind == what::release;
}

} // namespace coel
