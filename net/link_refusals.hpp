// Those who were not let in: counted by reason, and said now and then. A flood of attempts must not
// become a flood of lines.
#pragma once

#include "common/said_rarely.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace coel::net {

enum class refusal : uint8_t {
  no_key,     ///< no CURVE, another cluster's key, nonsense, or silence while shaking hands
  not_member, ///< a key that `members` does not list
  expelled,
  too_often, ///< more handshakes from its address than are looked at
  crowded,   ///< more connections from its address that have not proved anything
};
inline constexpr size_t refusal_kinds = 5;
using refusal_counts = std::array<uint64_t, refusal_kinds>; ///< by refusal

/// Stable name, as in lines and status: "no-key".
std::string_view to_string(refusal kind);

class link_refusals {
 public:
  using time_point = said_rarely::time_point;

  explicit link_refusals(std::chrono::seconds quiet = std::chrono::seconds(60)) {
    said_.fill(said_rarely(quiet));
  }

  /// Counts one. The line to be said, unless one of its kind was said within `quiet`:
  /// `event=refused-peer why=no-key times=7 from=10.0.0.9 hint="..."`, where `times` are those
  /// since the last line. `from` may be empty; it is an address or a key.
  std::optional<std::string> note(refusal kind, std::string_view from, time_point now);

  uint64_t count(refusal kind) const { return counts_[static_cast<size_t>(kind)]; }

 private:
  refusal_counts counts_{};
  std::array<said_rarely, refusal_kinds> said_;
};

/// Where lines go that nobody else takes: standard error, as those of the node itself.
void say_on_stderr(const std::string& line);

} // namespace coel::net
