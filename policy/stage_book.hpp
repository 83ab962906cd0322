// Sessions of neighbours whose layers run here: who has which KV pages, what comes next of each,
// and when they may be taken back. Pure: time is an argument, pages come and go as values.
#pragma once

#include "common/ids.hpp"
#include "common/stage_message.hpp"

#include <chrono>
#include <map>
#include <set>
#include <vector>

namespace coel::policy {

class stage_book {
 public:
  using moment = std::chrono::milliseconds; ///< of any clock that does not go back

  struct limits {
    uint32_t sessions = 64;
    moment idle{120'000}; ///< a session that is not used for so long is closed
  };
  explicit stage_book(limits l) : limits_(l) {}

  /// Whether that session may be opened. Errors: busy (as many as there may be), bad_argument (it
  /// is open already).
  result<void> may_open(node_id home, uint64_t session) const;
  /// With pages for `tokens`, which stay its own until they are freed.
  void open(node_id home, const stage_open& asked, std::vector<uint32_t> pages, moment now);

  /// Rows of these sessions are about to run: each must be open for exactly these layers, and its
  /// rows the next ones. All or none. The sessions are in use until `ended`. Errors:
  /// unknown_request (not open), bad_frame (other layers, rows left out, more than there is room).
  result<void> begin(node_id home, const stage_hop& layers, const std::vector<stage_part>& parts,
                     moment now);
  /// Runs are begun and ended in the same order. After a failure the sessions' rows are not whole:
  /// they are closed.
  void ended(node_id home, const std::vector<stage_part>& parts, bool ok, moment now);

  void close(node_id home, uint64_t session);
  /// Of homes that are gone.
  void keep_homes(const std::set<node_id>& up);
  void close_idle(moment now);

  /// Pages that nobody uses any more: of closed sessions, once no run of theirs is under way.
  std::vector<uint32_t> take_freed();

  const std::vector<uint32_t>& pages(node_id home, uint64_t session) const;
  size_t open_sessions() const; ///< those that are being closed are not counted

 private:
  struct entry {
    stage_open asked;
    std::vector<uint32_t> pages;
    uint32_t next = 0;  ///< position
    uint32_t users = 0; ///< runs under way
    bool closed = false;
    moment used{};
  };
  using id = std::pair<node_id, uint64_t>;
  void close(entry& e);
  void sweep();

  limits limits_;
  std::map<id, entry> sessions_;
  std::vector<uint32_t> freed_;
};

} // namespace coel::policy
