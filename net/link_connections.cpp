#include "net/link_connections.hpp"

#include <algorithm>
#include <utility>

namespace coel::net {

namespace {

const std::string unknown;

} // namespace

void link_connections::opened(int descriptor, std::string address) {
  all_.try_emplace(descriptor, connection{{}, std::move(address), ++numbers_});
}

std::optional<std::string> link_connections::closed(int descriptor) {
  auto found = all_.find(descriptor);
  if (found == all_.end())
    return std::nullopt;
  auto gone = release(found->second.key);
  all_.erase(found);
  return gone;
}

const std::string& link_connections::key_of(int descriptor) const {
  auto found = all_.find(descriptor);
  return found == all_.end() ? unknown : found->second.key;
}

const std::string& link_connections::address_of(int descriptor) const {
  auto found = all_.find(descriptor);
  return found == all_.end() ? unknown : found->second.address;
}

std::optional<std::string> link_connections::heard(int descriptor, const std::string& key) {
  auto& known = all_[descriptor].key;
  if (known == key)
    return std::nullopt;
  auto gone = release(known);
  known = key;
  ++counts_[key];
  return gone;
}

std::vector<int> link_connections::of(const std::string& key) const {
  std::vector<int> out;
  for (const auto& [descriptor, one] : all_)
    if (one.key == key)
      out.push_back(descriptor);
  return out;
}

template <class Which>
std::optional<int> link_connections::close_oldest(Which which) {
  auto oldest = all_.end();
  for (auto at = all_.begin(); at != all_.end(); ++at)
    if (!at->second.closing && which(at->second) &&
        (oldest == all_.end() || at->second.number < oldest->second.number))
      oldest = at;
  if (oldest == all_.end())
    return std::nullopt;
  oldest->second.closing = true;
  return oldest->first;
}

std::optional<int> link_connections::crowded(const std::string& key) {
  auto is_its = [&](const connection& one) { return !one.closing && one.key == key; };
  auto has =
      std::count_if(all_.begin(), all_.end(), [&](const auto& e) { return is_its(e.second); });
  if (static_cast<size_t>(has) <= max_of_key)
    return std::nullopt;
  return close_oldest(is_its);
}

std::optional<int> link_connections::crowded() {
  std::unordered_map<std::string, size_t> silent; // by address
  size_t in_all = 0;
  for (const auto& [descriptor, one] : all_)
    if (!one.closing && one.key.empty()) {
      ++silent[one.address];
      ++in_all;
    }
  auto most = std::max_element(silent.begin(), silent.end(),
                               [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == silent.end() || (most->second <= max_silent_of_address && in_all <= max_silent))
    return std::nullopt;
  return close_oldest(
      [&](const connection& one) { return one.key.empty() && one.address == most->first; });
}

bool link_connections::is_closing(int descriptor) const {
  auto found = all_.find(descriptor);
  return found != all_.end() && found->second.closing;
}

std::optional<std::string> link_connections::release(std::string& key) {
  auto old = std::exchange(key, {});
  if (old.empty() || --counts_[old] > 0)
    return std::nullopt;
  counts_.erase(old);
  return old;
}

} // namespace coel::net
