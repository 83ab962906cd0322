#include "actors/fetch_goals.hpp"

#include <algorithm>

namespace coel::actors {

fetch_goals::goal_id fetch_goals::add(const std::vector<model::chunk_id>& chunks,
                                      uint32_t priority) {
  auto id = ++next_;
  goals_.emplace(id, need{{chunks.begin(), chunks.end()}, priority});
  for (auto chunk : chunks)
    needed_by_[chunk].insert(id);
  return id;
}

std::vector<fetch_goals::goal_id> fetch_goals::arrived(model::chunk_id chunk) {
  std::vector<goal_id> reached;
  auto needed = needed_by_.extract(chunk);
  if (needed.empty())
    return reached;
  for (auto id : needed.mapped()) {
    auto& missing = goals_.at(id).missing;
    missing.erase(chunk);
    if (!missing.empty())
      continue;
    reached.push_back(id);
    goals_.erase(id);
  }
  return reached;
}

std::vector<model::chunk_id> fetch_goals::drop(goal_id id) {
  std::vector<model::chunk_id> unneeded;
  auto given_up = goals_.extract(id);
  if (given_up.empty())
    return unneeded;
  for (auto chunk : given_up.mapped().missing) {
    auto at = needed_by_.find(chunk);
    at->second.erase(id);
    if (!at->second.empty())
      continue;
    needed_by_.erase(at);
    unneeded.push_back(chunk);
  }
  return unneeded;
}

uint32_t fetch_goals::priority(model::chunk_id chunk) const {
  uint32_t most_urgent = UINT32_MAX;
  for (auto id : needed_by_.at(chunk))
    most_urgent = std::min(most_urgent, goals_.at(id).priority);
  return most_urgent;
}

std::vector<fetch_goals::goal_id> fetch_goals::all() const {
  std::vector<goal_id> ids;
  for (const auto& [id, one] : goals_)
    ids.push_back(id);
  return ids;
}

} // namespace coel::actors
