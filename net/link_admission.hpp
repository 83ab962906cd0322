// Which keys may connect to this node, and how often an address may try. Any thread.
#pragma once

#include "net/link_refusals.hpp"

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace coel::net {

class link_admission {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  /// `members` empty: every key that is not expelled. Of one address `handshakes_per_second` are
  /// looked at, and as many at once (at least one).
  link_admission(const std::vector<std::string>& members, const std::vector<std::string>& expelled,
                 double handshakes_per_second);

  /// Why not; nothing if it may connect. Counts as an attempt of that address.
  std::optional<refusal> objection(const std::string& key, const std::string& address,
                                   time_point now);
  bool admits(const std::string& key, const std::string& address, time_point now) {
    return !objection(key, address, now);
  }

  void expel(const std::string& key);
  bool is_expelled(const std::string& key) const;

 private:
  /// Tokens of an address, which come back with time.
  struct allowance {
    double left = 0;
    time_point at{};
  };
  static constexpr size_t max_addresses = 1024;

  bool in_time(const std::string& address, time_point now);
  void forget_quiet(time_point now);
  double refilled(const allowance& one, time_point now) const;

  mutable std::mutex mutex_;
  std::set<std::string> members_;
  std::set<std::string> expelled_;
  double rate_;
  double burst_;
  std::map<std::string, allowance> allowances_;
};

} // namespace coel::net
