// Which of several nodes is asked next, and what to say when none is left.
#pragma once

#include "common/result.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace coel::net {

/// Begins at the first; each may fail `tries` times in a row before something is gained.
class app_ring {
 public:
  app_ring(std::vector<std::string> endpoints, uint32_t tries);

  size_t at() const { return at_; }
  /// The node at() has failed before, since something was gained.
  bool failed_before() const { return failures_[at_] > 0; }

  /// The node at() has failed; at() is the next one to ask. False: none is left.
  bool failed(error why);
  /// Something was gained: all nodes have their tries again.
  void gained();
  /// Starts afresh with the node `index`.
  void begin_at(size_t index);

  /// Which nodes were tried and why each failed. The code is that of all failures, or io.
  error summary() const;

 private:
  struct failure {
    size_t node;
    error why;
  };
  std::vector<failure> distinct() const;

  std::vector<std::string> endpoints_;
  uint32_t tries_;
  size_t at_ = 0;
  std::vector<uint32_t> failures_; // [endpoints], since something was gained
  std::vector<failure> log_;       // likewise
};

} // namespace coel::net
