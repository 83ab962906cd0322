// How often a HELLO may make this node try to connect. Anybody can forge HELLOs from any number of
// addresses, also from those of machines that have nothing to do with the cluster; this bounds what
// they get to see of us.
#pragma once

#include "policy/neighbours.hpp"

#include <map>
#include <set>

namespace coel::policy {

struct attempt_options {
  moment first_gap{5'000'000}; ///< between two attempts at an address; doubles with each
  moment longest_gap{300'000'000};
  double per_second = 1;       ///< of all addresses together
  double burst = 16;           ///< a cluster that starts: everybody at once
  size_t max_addresses = 1024; ///< remembered; the one that was tried longest ago goes first
};

class attempt_limiter {
 public:
  explicit attempt_limiter(attempt_options options = {})
      : options_(options), tokens_(options.burst) {}

  /// An address from the configuration: only its own gap counts, so that a flood of others does
  /// not keep it out. Its gap grows no further than eight times the first.
  void expect(ipv4_address address) { expected_.insert(address); }

  /// True if an attempt may start now; it counts as started.
  bool admit(ipv4_address address, moment now);

  /// The handshake was good: the next loss of this neighbour is mended at once.
  void succeeded(ipv4_address address) { tried_.erase(address); }

  size_t remembered() const { return tried_.size(); }

 private:
  struct record {
    moment last{0};
    moment gap{0};
  };
  void refill(moment now);
  record& remember(ipv4_address address);

  attempt_options options_;
  double tokens_;
  moment filled_{0};
  std::set<ipv4_address> expected_;
  std::map<ipv4_address, record> tried_;
};

} // namespace coel::policy
