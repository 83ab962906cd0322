#include "net/link_admission.hpp"

#include <algorithm>

namespace coel::net {

link_admission::link_admission(const std::vector<std::string>& members,
                               const std::vector<std::string>& expelled,
                               double handshakes_per_second)
    : members_(members.begin(), members.end()), expelled_(expelled.begin(), expelled.end()),
      rate_(handshakes_per_second), burst_(std::max(1.0, handshakes_per_second)) {}

std::optional<refusal> link_admission::objection(const std::string& key, const std::string& address,
                                                 time_point now) {
  std::lock_guard lock(mutex_);
  if (!in_time(address, now))
    return refusal::too_often;
  if (expelled_.contains(key))
    return refusal::expelled;
  if (!members_.empty() && !members_.contains(key))
    return refusal::not_member;
  return std::nullopt;
}

void link_admission::expel(const std::string& key) {
  std::lock_guard lock(mutex_);
  expelled_.insert(key);
}

bool link_admission::is_expelled(const std::string& key) const {
  std::lock_guard lock(mutex_);
  return expelled_.contains(key);
}

double link_admission::refilled(const allowance& one, time_point now) const {
  return std::min(burst_, one.left + rate_ * std::chrono::duration<double>(now - one.at).count());
}

bool link_admission::in_time(const std::string& address, time_point now) {
  if (allowances_.size() >= max_addresses && !allowances_.contains(address))
    forget_quiet(now);
  if (allowances_.size() >= max_addresses && !allowances_.contains(address))
    return false;
  auto& mine = allowances_.try_emplace(address, allowance{burst_, now}).first->second;
  mine = {refilled(mine, now), now};
  if (mine.left < 1)
    return false;
  mine.left -= 1;
  return true;
}

// An address with its whole allowance is as good as one that never called.
void link_admission::forget_quiet(time_point now) {
  std::erase_if(allowances_,
                [&](const auto& entry) { return refilled(entry.second, now) >= burst_; });
}

} // namespace coel::net
