// A member of the cluster that runs no model and says what a test wants it to say: it has the keys,
// greets, pings and answers pings as nodes do.
#pragma once

#include "common/node_record.hpp"
#include "net/cluster_file.hpp"
#include "net/link_frames.hpp"
#include "net/link_handshake.hpp"
#include "net/link_receiver.hpp"
#include "net/link_sender.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace coel::testing {

struct member_options {
  std::string name = "fake";
  net::key_pair keys = *net::generate_keys();
  std::string listen;   ///< "127.1.2.3"
  std::string said;     ///< where it says that it listens; empty: `listen`
  std::string node;     ///< "127.1.2.4": whom it is linked to
  uint16_t port = 7420; ///< of both
};

class fake_member {
 public:
  using bytes = std::vector<std::byte>;
  /// Called on its thread with each frame that is not of the handshake.
  using behaviour = std::function<void(fake_member&, net::link_frame_kind, const bytes&)>;

  fake_member(const net::cluster_file& cluster, member_options options, behaviour acts);
  ~fake_member();
  fake_member(const fake_member&) = delete;
  fake_member& operator=(const fake_member&) = delete;

  /// From any thread. False if the link is not up or its queue is full.
  bool send(zmq::message_t frame);
  bool send(const bytes& frame) { return send(zmq::message_t(frame.data(), frame.size())); }
  /// Tells that it holds all experts of the model that the node's last record tells of.
  void claim_everything(const bytes& record_frame);

  bool up() const { return up_; }
  size_t times_up() const { return times_up_; }
  /// All frames of the kind that came, in plain.
  std::vector<bytes> frames(net::link_frame_kind kind) const;

  const std::string& key() const { return options_.keys.public_key; }

 private:
  void run();
  void take(const bytes& frame);
  bool take_control(net::link_frame_kind kind, const bytes& frame);
  void take_news();
  void apply(net::link_handshake::actions todo);
  void open();

  net::cluster_file cluster_;
  member_options options_;
  behaviour acts_;
  zmq::context_t context_;
  std::unique_ptr<net::link_receiver> receiver_;

  std::recursive_mutex link_mutex_; // of the sender and the handshake
  std::optional<net::link_sender> sender_;
  std::optional<net::link_handshake> handshake_;
  std::atomic<bool> up_{false};
  std::atomic<size_t> times_up_{0};

  mutable std::mutex mutex_; // of what follows
  std::condition_variable changed_;
  std::deque<bytes> waiting_;
  std::vector<bytes> all_;
  bool ending_ = false;
  uint64_t version_ = 0;
  std::thread thread_;
};

} // namespace coel::testing
