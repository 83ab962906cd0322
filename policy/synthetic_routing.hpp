// Routing of a model that one does not have: a latent topic that drifts through a session and
// through the layers chooses the experts. Three regimes bracket what is published of real models;
// how they differ: docs/placement.md. For tests and dry runs: what a real model does is recorded.
#pragma once

#include "policy/routing_trace.hpp"

#include <optional>

namespace coel::policy {

enum class routing_regime : uint8_t { weak, medium, strong };
std::string_view to_string(routing_regime regime);
std::optional<routing_regime> regime_from_name(std::string_view name);

struct synthetic_options {
  routing_shape shape{24, 60, 4};
  routing_regime regime = routing_regime::medium;
  uint32_t domains = 8;
  /// Standard deviation of the experts' own preference, in logits; the regime's if negative.
  double skew = -1;
  uint64_t seed = 1;
};

class synthetic_routing {
 public:
  explicit synthetic_routing(const synthetic_options& options);

  /// `sessions` of `tokens` each, the domain of each drawn from `domains` (all if empty).
  routing_trace trace(uint32_t sessions, uint32_t tokens, std::span<const uint32_t> domains,
                      uint64_t seed) const;
  uint32_t domains() const { return options_.domains; }
  double skew() const { return skew_; }

 private:
  static constexpr uint32_t rank = 24;    // dimensions of the latent topic
  static constexpr uint32_t topics = 400; // kinds of token
  void add_session(routing_trace& out, uint32_t session, uint32_t domain, uint32_t tokens,
                   struct noise& random) const;

  synthetic_options options_;
  double skew_;
  std::vector<float> gates_;        // [layers, experts, rank], rows of length 1
  std::vector<float> bias_;         // [layers, experts]
  std::vector<float> domain_mean_;  // [domains, rank]
  std::vector<float> topic_mean_;   // [topics, rank]
  std::vector<double> topic_share_; // [domains, topics], cumulated
};

} // namespace coel::policy
