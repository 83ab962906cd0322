// What is fetched for what: sets of chunks that somebody waits for. Pure.
#pragma once

#include "model/manifest.hpp"

#include <map>
#include <set>
#include <vector>

namespace coel::actors {

class fetch_goals {
 public:
  using goal_id = uint64_t;

  /// `chunks` are not here yet; at least one. Smaller priorities are more urgent.
  goal_id add(const std::vector<model::chunk_id>& chunks, uint32_t priority);

  /// The goals that need nothing more, now that this chunk is here; they are forgotten.
  std::vector<goal_id> arrived(model::chunk_id chunk);

  /// Gives a goal up; the chunks that no other goal needs.
  std::vector<model::chunk_id> drop(goal_id goal);

  const std::set<model::chunk_id>& missing(goal_id goal) const { return goals_.at(goal).missing; }
  /// The most urgent of all goals that need the chunk, which at least one does.
  uint32_t priority(model::chunk_id chunk) const;
  std::vector<goal_id> all() const;

 private:
  struct need {
    std::set<model::chunk_id> missing;
    uint32_t priority = 0;
  };
  std::map<goal_id, need> goals_;
  std::map<model::chunk_id, std::set<goal_id>> needed_by_;
  goal_id next_ = 0;
};

} // namespace coel::actors
