// Which key is behind which connection (by descriptor), when the last of a key is gone, and which
// connections are too many. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace coel::net {

class link_connections {
 public:
  /// Connections that have said nothing yet, of an address and of all; and those of a key. A node
  /// has one for each neighbour, two while one is replaced. Without these bounds whoever connects
  /// and waits takes all the descriptors of this process.
  static constexpr size_t max_silent_of_address = 64;
  static constexpr size_t max_silent = 256;
  static constexpr size_t max_of_key = 8;

  /// `address`: of the other side; may be empty.
  void opened(int descriptor, std::string address = {});
  /// The key whose last connection this was.
  std::optional<std::string> closed(int descriptor);

  bool is_open(int descriptor) const { return all_.contains(descriptor); }
  /// Empty if nothing has come from there, or it is closed.
  const std::string& key_of(int descriptor) const;
  const std::string& address_of(int descriptor) const;

  /// A frame of `key` came by an open connection. Returns a key whose last connection that had
  /// seemed to be: libzmq names a connection by a number that is used again, and frames of its
  /// former owner may be read late.
  std::optional<std::string> heard(int descriptor, const std::string& key);

  std::vector<int> of(const std::string& key) const;

  /// One beyond the bounds, which the caller closes: the oldest of that key, or of the address with
  /// most silent ones. Each is told once.
  std::optional<int> crowded(const std::string& key);
  std::optional<int> crowded();
  /// It was told as crowded.
  bool is_closing(int descriptor) const;

 private:
  struct connection {
    std::string key; ///< empty until known
    std::string address;
    uint64_t number = 0; ///< rises with each that is opened
    bool closing = false;
  };

  std::optional<std::string> release(std::string& key);
  template <class Which>
  std::optional<int> close_oldest(Which which);

  std::unordered_map<int, connection> all_; // by descriptor
  std::unordered_map<std::string, int> counts_;
  uint64_t numbers_ = 0;
};

} // namespace coel::net
