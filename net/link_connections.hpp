// Which key is behind which connection (by descriptor), and when the last of a key is gone.
// One thread.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace coel::net {

class link_connections {
 public:
  void opened(int descriptor);
  /// The key whose last connection this was.
  std::optional<std::string> closed(int descriptor);

  bool is_open(int descriptor) const { return keys_.contains(descriptor); }
  /// Empty if nothing has come from there, or it is closed.
  const std::string& key_of(int descriptor) const;

  /// A frame of `key` came by an open connection. Returns a key whose last connection that had
  /// seemed to be: libzmq names a connection by a number that is used again, and frames of its
  /// former owner may be read late.
  std::optional<std::string> heard(int descriptor, const std::string& key);

  std::vector<int> of(const std::string& key) const;

 private:
  std::optional<std::string> release(std::string& key);

  std::unordered_map<int, std::string> keys_; // by descriptor; empty until known
  std::unordered_map<std::string, int> counts_;
};

} // namespace coel::net
