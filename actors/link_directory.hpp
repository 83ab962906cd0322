// Which link a neighbour's frames belong to, by the key that its handshake proved; and who gets
// those of strangers. Asked by the receiver's thread for every frame, changed by perception.
#pragma once

#include "actors/interfaces.hpp"

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

  /// Null until set: what comes earlier is lost, and its sender tries again.
  perception_actor perception() const {
    std::lock_guard lock(mutex_);
    return perception_;
  }
  void set_perception(const perception_actor& to) {
    std::lock_guard lock(mutex_);
    perception_ = to;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, caf::strong_actor_ptr> links_;
  perception_actor perception_;
};
using link_directory_ptr = std::shared_ptr<link_directory>;

} // namespace coel::actors
