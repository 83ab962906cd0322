// Receivers and senders over loopback, with a note of everything that came.
#pragma once

#include "net/cluster_file.hpp"
#include "net/link_frames.hpp"
#include "net/link_receiver.hpp"
#include "net/link_sender.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace coel::net::test {

using namespace std::chrono_literals;

class link_node {
 public:
  struct arrival {
    std::string key, address;
    std::vector<std::byte> frame;
  };

  explicit link_node(const cluster_file& cluster, receiver_options options = {}) {
    options.endpoints = {"tcp://127.0.0.1:*"};
    options.cluster = cluster.keys;
    start(std::move(options));
  }
  ~link_node() { stop(); }

  void stop() { receiver_.reset(); }

  link_receiver& receiver() { return *receiver_; }
  std::string endpoint() const { return receiver_->endpoints().front(); }

  template <class Condition>
  bool eventually(Condition condition) {
    std::unique_lock<std::recursive_mutex> lock(mutex_);
    return changed_.wait_for(lock, 20s, condition);
  }
  size_t arrived_from(const std::string& key) const {
    std::lock_guard lock(mutex_);
    return static_cast<size_t>(std::count_if(arrivals_.begin(), arrivals_.end(),
                                             [&](const auto& one) { return one.key == key; }));
  }
  std::vector<arrival> arrivals() const {
    std::lock_guard lock(mutex_);
    return arrivals_;
  }
  std::vector<std::string> gone() const {
    std::lock_guard lock(mutex_);
    return gone_;
  }

 private:
  void start(receiver_options options) {
    auto on_frame = [this](const std::string& key, const std::string& address,
                           zmq::message_t frame) {
      std::lock_guard lock(mutex_);
      auto* data = frame.data<std::byte>();
      arrivals_.push_back({key, address, {data, data + frame.size()}});
      changed_.notify_all();
    };
    auto on_gone = [this](const std::string& key) {
      std::lock_guard lock(mutex_);
      gone_.push_back(key);
      changed_.notify_all();
    };
    auto started = link_receiver::start(context_, std::move(options), {on_frame, on_gone});
    if (!started.ok())
      throw std::runtime_error(to_string(started.err()));
    receiver_ = std::move(*started);
  }

  mutable std::recursive_mutex mutex_; // conditions look at what is guarded
  std::condition_variable_any changed_;
  std::vector<arrival> arrivals_;
  std::vector<std::string> gone_;
  zmq::context_t context_;
  std::unique_ptr<link_receiver> receiver_;
};

class link_client {
 public:
  link_client(const std::string& endpoint, const key_pair& own, const std::string& server_key)
      : link_client(sender_options{endpoint, own, server_key}) {}
  explicit link_client(const sender_options& options) {
    auto opened = link_sender::open(context_, options);
    if (!opened.ok())
      throw std::runtime_error(to_string(opened.err()));
    sender_.emplace(std::move(*opened));
  }

  link_sender& sender() { return *sender_; }

  /// The next news of that kind, within a generous time; nothing if none comes.
  std::optional<std::string> wait_for(link_sender::event what) {
    for (int i = 0; i < 2000; ++i) {
      for (auto& one : sender_->take_news())
        news_.push_back(std::move(one));
      auto found = std::find_if(news_.begin(), news_.end(),
                                [&](const auto& one) { return one.what == what; });
      if (found != news_.end()) {
        auto text = found->text;
        news_.erase(news_.begin(), found + 1);
        return text;
      }
      std::this_thread::sleep_for(10ms);
    }
    return std::nullopt;
  }

  bool send(const std::string& reason) {
    for (int i = 0; i < 2000; ++i) {
      auto frame = encode(goodbye_frame{reason});
      if (sender_->send(frame) == link_sender::outcome::sent)
        return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }

 private:
  zmq::context_t context_;
  std::optional<link_sender> sender_;
  std::vector<link_sender::news> news_;
};

} // namespace coel::net::test
