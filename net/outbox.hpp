// The way of replies from any thread to the server's thread: a bounded queue and a descriptor that
// becomes readable when there is something in it.
#pragma once

#include "net/app_server.hpp"

#include <mutex>
#include <vector>

namespace coel::net {

class outbox {
 public:
  struct entry {
    client_ref client{};
    uint64_t id = 0;
    app_reply reply;
  };

  static constexpr size_t limit = 1u << 16; ///< replies; reached only if the thread is starved

  outbox();
  ~outbox();
  outbox(const outbox&) = delete;
  outbox& operator=(const outbox&) = delete;

  /// Over the limit the reply is dropped and its client remembered as overrun.
  void push(entry one);
  void wake();

  struct content {
    std::vector<entry> entries;
    std::vector<client_ref> overrun;
  };
  content take();

  int descriptor() const { return event_; }

 private:
  std::mutex mutex_;
  content content_;
  int event_ = -1;
};

} // namespace coel::net
