#include "policy/record_news.hpp"

#include <algorithm>
#include <cmath>

namespace coel::policy {

namespace {

bool far(double x, double y) {
  return std::abs(x - y) > 0.2 * std::max(x, y);
}

bool says_more(model_record now, const model_record& told, bool chunks_too) {
  if (far(now.speed.expert_us, told.speed.expert_us) || far(now.speed.row_us, told.speed.row_us))
    return true;
  now.speed = told.speed;
  if (!chunks_too && now.complete == told.complete)
    now.chunks = told.chunks;
  return now != told;
}

} // namespace

bool says_more(const node_record& now, const node_record& told, bool chunks_too) {
  if (now.models.size() != told.models.size() || now.draining != told.draining)
    return true;
  for (size_t i = 0; i < now.models.size(); ++i)
    if (says_more(now.models[i], told.models[i], chunks_too))
      return true;
  return false;
}

} // namespace coel::policy
