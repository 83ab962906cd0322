#include "policy/record_news.hpp"

#include <algorithm>
#include <cmath>

namespace coel::policy {

namespace {

bool far(double x, double y) {
  return std::abs(x - y) > 0.2 * std::max(x, y);
}

bool far(const home_speed& x, const home_speed& y) {
  return far(x.layer_us, y.layer_us) || far(x.head_us, y.head_us);
}

/// Half as long again, and by what plans would notice.
bool far(const std::vector<neighbour_record>& now, const std::vector<neighbour_record>& told) {
  constexpr double little_us = 200;
  if (now.size() != told.size())
    return true;
  for (size_t i = 0; i < now.size(); ++i) {
    double x = now[i].round_trip_us, y = told[i].round_trip_us;
    if (now[i].key != told[i].key ||
        (std::abs(x - y) > 0.5 * std::max(x, y) && std::abs(x - y) > little_us))
      return true;
  }
  return false;
}

bool says_more(model_record now, const model_record& told, bool chunks_too) {
  if (far(now.speed.expert_us, told.speed.expert_us) || far(now.speed.row_us, told.speed.row_us))
    return true;
  if (far(now.dense, told.dense))
    return true;
  now.speed = told.speed;
  now.dense = told.dense;
  if (!chunks_too && now.complete == told.complete)
    now.chunks = told.chunks;
  return now != told;
}

} // namespace

bool says_more(const node_record& now, const node_record& told, bool chunks_too) {
  if (now.models.size() != told.models.size() || now.draining != told.draining ||
      now.expert_memory_bytes != told.expert_memory_bytes || far(now.neighbours, told.neighbours))
    return true;
  for (size_t i = 0; i < now.models.size(); ++i)
    if (says_more(now.models[i], told.models[i], chunks_too))
      return true;
  return false;
}

} // namespace coel::policy
