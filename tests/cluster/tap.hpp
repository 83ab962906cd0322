// A wire between two nodes that a test can listen to and cut: passes bytes between TCP connections.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace coel::testing {

struct tap_options {
  std::string listen; ///< "127.1.2.3": whoever connects there ...
  std::string target; ///< ... is passed on to this address,
  std::string source; ///< where the connection seems to come from this one; empty: as it happens
  uint16_t port = 7420;
  bool record = false;
};

class tap {
 public:
  explicit tap(tap_options options);
  ~tap();
  tap(const tap&) = delete;
  tap& operator=(const tap&) = delete;

  /// From now on nothing passes and nobody is told, as when a cable is pulled; or, mended, what was
  /// open is closed and who connects again is served.
  void cut(bool now);

  /// All bytes that passed, if they are recorded: of one direction, then of the other.
  std::string recorded() const;

 private:
  struct line {
    int client = -1, target = -1;
  };

  void run();
  void accept();
  bool copy(int from, int to, std::string& record);
  void close_all();

  tap_options options_;
  int listener_ = -1;
  std::vector<line> lines_; // of the thread
  std::atomic<bool> cut_{false}, ending_{false};
  mutable std::mutex mutex_;
  std::string there_, back_;
  std::thread thread_;
};

} // namespace coel::testing
