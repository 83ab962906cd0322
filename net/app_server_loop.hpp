// What the app server's thread does. For app_server.cpp only.
#pragma once

#include "net/app_clients.hpp"
#include "net/app_server.hpp"
#include "net/outbox.hpp"
#include "net/router.hpp"
#include "net/zap.hpp"

#include <atomic>
#include <map>
#include <unordered_map>

namespace coel::net {

class app_server_loop {
 public:
  /// `gate` is null where nothing is encrypted.
  app_server_loop(std::vector<router> routers, std::unique_ptr<zap_handler> gate, outbox& out,
                  const app_server_options& options, app_handler handler);

  /// Until `stopping`; then sends what is queued and returns.
  void run(const std::atomic<bool>& stopping);

 private:
  struct client {
    client_ref ref{};
    size_t router = 0;
    std::string peer;
    std::unordered_map<uint64_t, open_request> requests;
    backlog waiting;
    misbehaviour record;
  };
  using peer_key = std::pair<size_t, std::string>; // router and routing id

  void wait();
  void receive_round(size_t from);
  void handle(size_t from, router::message& in);
  client* client_of(size_t from, const std::string& peer);
  void refuse(client& who, const router::message& in, std::optional<uint64_t> id, const error& why);
  void accept(client& who, const router::message& in, uint64_t id, app_request request);
  void cancel_on_overrun(client& who);

  void deliver_queued();
  void deliver(outbox::entry one);
  void post(client& who, bool delimited, std::string payload);
  void flush(client& who);
  void flush_all();
  bool anything_waits() const;

  void drop_gone(size_t from);

  std::vector<router> routers_;
  std::unique_ptr<zap_handler> gate_;
  outbox* out_;
  app_server_options options_;
  app_handler handler_;
  std::vector<zmq::pollitem_t> poll_;
  std::map<peer_key, client> clients_;
  std::unordered_map<uint64_t, client*> by_ref_;
  uint64_t next_ref_ = 1;
};

} // namespace coel::net
