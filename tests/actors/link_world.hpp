// Two nodes in one process: a receiver and a link each, over loopback with CURVE.
#pragma once

#include "actors/link.hpp"
#include "helper_world.hpp"
#include "net/cluster_file.hpp"
#include "net/link_receiver.hpp"

namespace coel::actors::test {

/// What a played perception heard, and the link that frames go to.
class switchboard {
 public:
  void connect(neighbour_actor to) {
    std::lock_guard lock(mutex_);
    link_ = std::move(to);
  }
  void disconnect() { connect({}); }
  neighbour_actor link() const {
    std::lock_guard lock(mutex_);
    return link_;
  }
  void heard(const link_event& what) {
    std::lock_guard lock(mutex_);
    events_.push_back(what);
    changed_.notify_all();
  }
  /// The nth event of that kind; fails if it does not come.
  link_event wait_for(link_event::kind what, size_t nth = 1) {
    std::unique_lock lock(mutex_);
    std::vector<link_event> found;
    bool came = changed_.wait_for(lock, generous, [&] {
      found.clear();
      std::copy_if(events_.begin(), events_.end(), std::back_inserter(found),
                   [&](const auto& e) { return e.what == what; });
      return found.size() >= nth;
    });
    BOOST_REQUIRE_MESSAGE(came, "a link event never came");
    return found[nth - 1];
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  neighbour_actor link_;
  std::vector<link_event> events_;
};
using switchboard_ptr = std::shared_ptr<switchboard>;

/// Hands frames to the one link there is.
inline perception_actor::behavior_type played_perception(perception_actor::pointer self,
                                                         switchboard_ptr board) {
  return {[](atom::status) { return component_status{}; },
          [](atom::heard, const std::string&) {},
          [=](const stranger& s) {
            if (auto to = board->link())
              self->send(to, atom::frame::value, s.frame);
          },
          [=](const link_event& e) { board->heard(e); },
          [](atom::tick) {},
          [](atom::begin, const updater_actor&) {},
          [](atom::tell, const std::shared_ptr<const node_record>&) {},
          [](atom::members) { return members_ptr{}; },
          [](atom::expel, const std::string&) { return std::string{}; },
          [](atom::leave, const std::string&) {},
          [](atom::details) { return std::vector<link_status>{}; }};
}

/// Answers with so many bytes of a file of that many, or fails.
inline library_actor::behavior_type played_library(library_actor::pointer) {
  return {[](atom::status) { return component_status{}; },
          [](const file_want& want) -> caf::result<file_block> {
            if (want.file != 2)
              return to_caf({ec::bad_argument, "there is no such file"});
            std::vector<std::byte> bytes(want.length);
            for (size_t i = 0; i < bytes.size(); ++i)
              bytes[i] = static_cast<std::byte>(want.offset + i);
            return file_block{12345, std::move(bytes)};
          }};
}

/// Takes every dispatch and answers none.
inline helper_actor::behavior_type silent_helper(helper_actor::pointer self,
                                                 std::shared_ptr<doorway> reached) {
  reached->open();
  auto kept = std::make_shared<std::vector<caf::typed_response_promise<partial_sum>>>();
  return {[](atom::status) { return component_status{}; },
          [=](const remote_dispatch&) -> caf::result<partial_sum> {
            kept->push_back(self->make_response_promise<partial_sum>());
            reached->pass();
            return kept->back();
          },
          [](const remote_output&) -> caf::result<partial_sum> {
            return to_caf({ec::busy, "not played"});
          },
          [](atom::step, uint64_t, const compute::completion_info&) {}};
}

struct link_world : helper_world {
  struct peer {
    explicit peer(std::string called) : name(std::move(called)) {}
    std::string name;
    net::key_pair keys = *net::generate_keys();
    switchboard_ptr board = std::make_shared<switchboard>();
    hosted_models_ptr models = std::make_shared<hosted_models>();
    perception_actor perception;
    neighbour_actor link;
    std::shared_ptr<zmq::context_t> context = std::make_shared<zmq::context_t>();
    std::unique_ptr<net::link_receiver> receiver; // first to go
  };

  net::cluster_file cluster = *net::make_cluster("home");
  library_actor library = keep(system.spawn(played_library));
  peer a{"a"}, b{"b"};

  link_world() {
    for (auto* one : {&a, &b}) {
      one->perception = keep(system.spawn(played_perception, one->board));
      listen(*one);
    }
  }
  ~link_world() {
    stop(a);
    stop(b);
  }

  void listen(peer& at, const std::string& endpoint = "tcp://127.0.0.1:*") {
    net::receiver_options options;
    options.endpoints = {endpoint};
    options.cluster = cluster.keys;
    auto to = at.perception;
    auto on_frame = [to](const std::string& key, const std::string& address, zmq::message_t frame) {
      caf::anon_send(
          to, stranger{key, address, std::make_shared<const zmq::message_t>(std::move(frame))});
    };
    auto on_gone = [board = at.board](const std::string&) {
      if (auto link = board->link())
        caf::anon_send(link, atom::gone::value);
    };
    auto started = net::link_receiver::start(*at.context, options, {on_frame, on_gone});
    BOOST_REQUIRE_MESSAGE(started.ok(), (started.ok() ? "" : started.err().message));
    at.receiver = std::move(*started);
  }
  void connect(peer& from, const peer& to, uint64_t boot, net::wire_type wire) {
    link_config c;
    c.serial = boot;
    c.id = there;
    c.to = {to.receiver->endpoints().front(), from.keys, cluster.keys.public_key};
    c.own.boot = boot;
    c.own.name = from.name;
    c.own.build = "test";
    c.context = from.context;
    c.perception = from.perception;
    c.models = from.models;
    c.library = library;
    c.wire = wire;
    from.link = keep(system.spawn(actors::link, std::move(c)));
    from.board->connect(from.link);
  }
  /// Both links up.
  void meet(net::wire_type wire = net::wire_type::f32) {
    connect(a, b, 1, wire);
    connect(b, a, 2, wire);
    a.board->wait_for(link_event::kind::up);
    b.board->wait_for(link_event::kind::up);
  }
  /// As if its process ended.
  void stop(peer& one) {
    one.receiver.reset();
    one.board->disconnect();
    if (one.link)
      caf::anon_send_exit(one.link, caf::exit_reason::kill);
    one.link = neighbour_actor();
  }
  void host(peer& at, helper_actor helps) {
    hosted_model hosted;
    hosted.model = model;
    hosted.helper = std::move(helps);
    at.models->add(std::move(hosted));
  }
  link_status status_of(const peer& of) {
    link_status seen;
    self->request(of.link, generous, atom::details::value)
        .receive([&](const link_status& s) { seen = s; },
                 [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
    return seen;
  }
  template <class Answer, class Ask>
  error failure_of(const neighbour_actor& of, const Ask& ask) {
    error why;
    self->request(of, generous, ask)
        .receive([](const Answer&) { BOOST_ERROR("it did not fail"); },
                 [&](caf::error& e) { why = from_caf(e); });
    return why;
  }
  error failure_of(const peer& of, const remote_dispatch& ask) {
    return failure_of<partial_sum>(of.link, ask);
  }
  error failure_of(const peer& of, const file_want& ask) {
    return failure_of<file_block>(of.link, ask);
  }
};

} // namespace coel::actors::test
