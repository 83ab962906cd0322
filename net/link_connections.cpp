#include "net/link_connections.hpp"

#include <utility>

namespace coel::net {

void link_connections::opened(int descriptor) {
  keys_.try_emplace(descriptor);
}

std::optional<std::string> link_connections::closed(int descriptor) {
  auto found = keys_.find(descriptor);
  if (found == keys_.end())
    return std::nullopt;
  auto gone = release(found->second);
  keys_.erase(found);
  return gone;
}

const std::string& link_connections::key_of(int descriptor) const {
  static const std::string unknown;
  auto found = keys_.find(descriptor);
  return found == keys_.end() ? unknown : found->second;
}

std::optional<std::string> link_connections::heard(int descriptor, const std::string& key) {
  auto& known = keys_[descriptor];
  if (known == key)
    return std::nullopt;
  auto gone = release(known);
  known = key;
  ++counts_[key];
  return gone;
}

std::vector<int> link_connections::of(const std::string& key) const {
  std::vector<int> out;
  for (const auto& [descriptor, owner] : keys_)
    if (owner == key)
      out.push_back(descriptor);
  return out;
}

std::optional<std::string> link_connections::release(std::string& key) {
  auto old = std::exchange(key, {});
  if (old.empty() || --counts_[old] > 0)
    return std::nullopt;
  counts_.erase(old);
  return old;
}

} // namespace coel::net
