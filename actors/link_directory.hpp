// Which link a neighbour's frames belong to, by the key that its handshake proved. Asked by the
// receiver's thread for every frame, changed by perception.
#pragma once

#include "actors/messages.hpp"

#include <mutex>
#include <unordered_map>

namespace coel::actors {

class link_directory {
 public:
  caf::strong_actor_ptr find(const std::string& key) const {
    std::lock_guard lock(mutex_);
    auto at = links_.find(key);
    return at == links_.end() ? nullptr : at->second;
  }
  void set(const std::string& key, const neighbour_actor& link) {
    std::lock_guard lock(mutex_);
    links_[key] = caf::actor_cast<caf::strong_actor_ptr>(link);
  }
  void erase(const std::string& key) {
    std::lock_guard lock(mutex_);
    links_.erase(key);
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, caf::strong_actor_ptr> links_;
};
using link_directory_ptr = std::shared_ptr<link_directory>;

} // namespace coel::actors
