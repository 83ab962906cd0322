// Which chunk to ask of which peer: several peers at once, each by what it has delivered so far.
// Pure: time is an argument, bytes are not touched, and the same calls give the same plan.
#pragma once

#include "model/mirror_chunks.hpp"

#include <map>
#include <optional>
#include <set>

namespace coel::model {

/// Names a peer for the planner; the caller chooses.
enum class peer_id : uint32_t {};

struct fetch_options {
  uint32_t most_outstanding = 4;         ///< requests to one peer that are not answered yet
  uint32_t most_attempts = 8;            ///< for one chunk: then it has failed
  double assumed_bytes_per_us = 100;     ///< of a peer that has not delivered yet: gigabit
  uint64_t least_timeout_us = 2'000'000; ///< of a request; longer to a slow or busy peer
  uint64_t most_timeout_us = 120'000'000;
  uint64_t pause_us = 1'000'000; ///< of a peer that timed out; doubles up to most_pause_us
  uint64_t most_pause_us = 60'000'000;
  uint64_t distrust_us = 300'000'000; ///< of a peer that sent a wrong hash
};

struct fetch_request {
  peer_id peer{};
  chunk_id chunk{};
  uint64_t deadline_us = 0; ///< the planner asks another peer from then on
};

struct fetch_progress {
  uint64_t wanted_bytes = 0; ///< not here yet, the failed ones left out
  uint32_t wanted = 0;
  uint32_t outstanding = 0;  ///< requests
  uint32_t without_peer = 0; ///< wanted, but nobody who may be asked has them
};

/// Not thread-safe.
class fetch_planner {
 public:
  explicit fetch_planner(manifest description, fetch_options options = {})
      : description_(std::move(description)), options_(options) {}

  /// Smaller priorities first; of the same, what fewest peers have, then in order. Asking again
  /// changes the priority and revives a failed chunk.
  void want(chunk_id chunk, uint32_t priority);
  /// No longer needed, or here by another way.
  void drop(chunk_id chunk);

  /// A new peer, or what it has by now.
  void peer_has(peer_id peer, chunk_set chunks);
  /// What was asked of it is asked of others. Its misdeeds are remembered.
  void peer_gone(peer_id peer);

  /// Requests to send now. Requests whose deadline has passed are given up first.
  std::vector<fetch_request> plan(uint64_t now_us);
  /// When to call plan again even if nothing happens; UINT64_MAX: no need.
  uint64_t next_time_us(uint64_t now_us) const;

  /// The chunk has come and its hash is right; also after its deadline, and also if not asked for.
  void arrived(peer_id peer, chunk_id chunk, uint64_t now_us);
  /// It came with a wrong hash: the peer is not asked for a while, nor again for this chunk.
  void lied(peer_id peer, chunk_id chunk, uint64_t now_us);
  /// The peer says that it does not have it (any more).
  void refused(peer_id peer, chunk_id chunk, uint64_t now_us);
  /// The caller no longer waits for this answer; nobody's fault.
  void released(peer_id peer, chunk_id chunk);

  bool done() const { return wanted_.empty() && failed_.empty(); }
  bool wanted(chunk_id chunk) const { return wanted_.contains(chunk); }
  /// Whether somebody who may be asked now has it, and it has not failed.
  bool obtainable(chunk_id chunk, uint64_t now_us) const;
  /// Given up after most_attempts; want() tries again.
  const std::set<chunk_id>& failed() const { return failed_; }
  fetch_progress progress(uint64_t now_us) const;
  /// Measured, or assumed as long as nothing has come. 0: unknown peer.
  double bytes_per_us(peer_id peer) const;

 private:
  struct sent {
    uint64_t at_us = 0;
    uint64_t deadline_us = 0;
  };
  struct peer_state {
    chunk_set has;
    std::map<chunk_id, sent> asked;
    std::set<chunk_id> late;  // timed out here: others are asked first
    std::set<chunk_id> wrong; // came with a wrong hash: never asked here again
    double bytes_per_us = 0;  // 0: nothing measured
    uint64_t asked_bytes = 0;
    uint64_t delivered_us = 0;        // when the last delivery ended
    uint64_t paused_until_us = 0;     // for being late
    uint64_t distrusted_until_us = 0; // for a wrong hash
    uint32_t timeouts = 0;            // in a row
    bool here = false;
  };
  struct want_state {
    uint32_t priority = 0;
    uint32_t attempts = 0;
  };
  struct turn {
    uint32_t priority = 0;
    uint32_t holders = 0;
    chunk_id chunk{};
    auto operator<=>(const turn&) const = default;
  };
  /// A peer in one call of plan: what it would be busy with if all chunks before were its.
  struct candidate {
    peer_id id{};
    peer_state* peer = nullptr;
    uint64_t load_bytes = 0;
  };

  uint64_t length(chunk_id chunk) const { return description_.place(chunk).length; }
  double rate(const peer_state& peer) const;
  bool asked_somewhere(chunk_id chunk) const;
  bool can_have(const peer_state& peer, chunk_id chunk) const;
  void order();
  void expire(uint64_t now_us);
  std::vector<candidate> candidates(uint64_t now_us);
  candidate* soonest(std::vector<candidate>& among, chunk_id chunk) const;
  fetch_request ask(candidate& whom, chunk_id chunk, uint64_t now_us);
  std::optional<sent> take_back(peer_state& peer, chunk_id chunk);
  void attempt_failed(chunk_id chunk);
  uint32_t free_slots(const std::vector<candidate>& among) const;

  const manifest description_;
  const fetch_options options_;
  std::map<peer_id, peer_state> peers_;
  std::map<chunk_id, want_state> wanted_;
  std::set<chunk_id> failed_;
  std::vector<turn> turns_; // of all that was wanted when it was made
  bool turns_are_old_ = false;
};

} // namespace coel::model
