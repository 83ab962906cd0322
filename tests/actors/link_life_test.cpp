// A link in trouble: what it owes is answered, and it comes back.
#include "link_world.hpp"

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

struct life_world : link_world {
  remote_dispatch ask = question({0, 3});
  std::shared_ptr<doorway> reached = std::make_shared<doorway>();

  helper_actor silent() { return keep(system.spawn(silent_helper, reached)); }

  /// The other side of a link may be up a moment later.
  void check_answers_again(const peer& asking) {
    auto wanted = computed(ask).values;
    for (auto end = steady::now() + generous; steady::now() < end;
         std::this_thread::sleep_for(5ms)) {
      std::vector<float> got;
      self->request(asking.link, generous, ask)
          .receive([&](const partial_sum& s) { got = s.values; },
                   [](caf::error& e) { BOOST_TEST(to_string(from_caf(e).code) == "io"); });
      if (got == wanted)
        return;
    }
    BOOST_ERROR("the link never worked again");
  }
  /// Sends raw bytes to `to` as the node `from`.
  void send_as(const peer& from, const peer& to, std::string_view bytes) {
    auto sender = *net::link_sender::open(
        *from.context, {to.receiver->endpoints().front(), from.keys, cluster.keys.public_key});
    for (auto end = steady::now() + generous; steady::now() < end;
         std::this_thread::sleep_for(5ms)) {
      zmq::message_t message(bytes);
      if (sender.send(message) == net::link_sender::outcome::sent) {
        to.board->wait_for(link_event::kind::down);
        return;
      }
    }
    BOOST_FAIL("cannot connect");
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(link_life, life_world)

BOOST_AUTO_TEST_CASE(links_greet_and_tell_of_each_other) {
  meet();
  auto up = a.board->wait_for(link_event::kind::up);
  BOOST_TEST(up.name == "b");
  BOOST_TEST(up.boot == 2u);
  BOOST_TEST(up.serial == 1u);
  BOOST_TEST(a.board->wait_for(link_event::kind::greeting).nonce != 0u);
  auto status = status_of(a);
  BOOST_TEST(status.state == "up");
  BOOST_TEST(status.name == "b");
}

BOOST_AUTO_TEST_CASE(before_it_is_up_everything_fails) {
  connect(a, b, 1, net::wire_type::f32); // b does not answer
  BOOST_TEST(to_string(failure_of(a, ask).code) == "io");
  BOOST_TEST(to_string(failure_of(a, file_want{model->hash, 2, 0, 10}).code) == "io");
  connect(b, a, 2, net::wire_type::f32);
  a.board->wait_for(link_event::kind::up);
  host(b, make_helper());
  BOOST_TEST((sum_of(a.link, ask).values == computed(ask).values));
}

BOOST_AUTO_TEST_CASE(what_a_dead_neighbour_owes_fails) {
  meet();
  host(b, silent());
  auto first = self->request(a.link, generous, ask), second = self->request(a.link, generous, ask);
  reached->wait_until_reached(2);
  stop(b);
  for (auto* pending : {&first, &second})
    pending->receive([](const partial_sum&) { BOOST_ERROR("a dead node answered"); },
                     [](caf::error& e) { BOOST_TEST(to_string(from_caf(e).code) == "io"); });
  a.board->wait_for(link_event::kind::down);
  BOOST_TEST(status_of(a).counts.failed == 2u);
  BOOST_TEST(to_string(failure_of(a, ask).code) == "io");
}

BOOST_AUTO_TEST_CASE(a_gate_goes_on_without_a_dead_neighbour) {
  auto alone = expected();
  meet();
  host(b, silent());
  prefer({there, here});
  auto asked = gate_at(view(table({{3, {there}}}), {{there, a.link}}), generous);
  fill();
  auto pending = self->request(asked, generous, work());
  reached->wait_until_reached();
  stop(b);
  a.board->wait_for(link_event::kind::down);
  self->send(asked, atom::publish::value, view(table()));
  auto done = outcome_of(pending);
  check_right(done, alone);
  BOOST_TEST(done.repeats >= 1u);
}

BOOST_AUTO_TEST_CASE(a_link_that_is_closed_answers_what_it_owes) {
  meet();
  host(b, silent());
  auto pending = self->request(a.link, generous, ask);
  reached->wait_until_reached();
  caf::anon_send_exit(a.link, caf::exit_reason::user_shutdown);
  pending.receive(
      [](const partial_sum&) { BOOST_ERROR("a sum from nowhere"); },
      [](caf::error& e) { BOOST_TEST(to_string(from_caf(e).code) == "shutting_down"); });
}

BOOST_AUTO_TEST_CASE(a_neighbour_that_sends_garbage_is_left_and_met_again) {
  meet();
  host(b, silent());
  auto pending = self->request(a.link, generous, ask);
  reached->wait_until_reached();
  send_as(b, a, "\xff this is no frame");
  pending.receive([](const partial_sum&) { BOOST_ERROR("nothing was answered"); },
                  [](caf::error& e) {
                    auto why = from_caf(e);
                    BOOST_TEST(to_string(why.code) == "io");
                    BOOST_TEST(holds(why.message, "refused"), why.message);
                  });
  BOOST_TEST(status_of(a).counts.bad_frames == 1u);
  a.board->wait_for(link_event::kind::up, 2);
  host(a, make_helper());
  check_answers_again(b);
}

/// The other side has noticed nothing yet.
BOOST_AUTO_TEST_CASE(what_is_asked_of_a_node_that_left_the_link_does_not_wait) {
  meet();
  host(a, make_helper());
  auto wanted = computed(ask).values;
  send_as(b, a, "\xff this is no frame");
  self->request(b.link, generous, ask)
      .receive([&](const partial_sum& s) { BOOST_TEST((s.values == wanted)); },
               [](caf::error& e) { BOOST_TEST(to_string(from_caf(e).code) == "io"); });
}

BOOST_AUTO_TEST_CASE(a_neighbour_that_starts_again_is_met_again) {
  meet();
  auto endpoint = b.receiver->endpoints().front();
  stop(b);
  a.board->wait_for(link_event::kind::down);
  listen(b, endpoint);
  connect(b, a, 3, net::wire_type::f32);
  BOOST_TEST(a.board->wait_for(link_event::kind::up, 2).boot == 3u);
  b.board->wait_for(link_event::kind::up, 2);
  host(b, make_helper());
  BOOST_TEST((sum_of(a.link, ask).values == computed(ask).values));
}

BOOST_AUTO_TEST_CASE(a_goodbye_is_heard) {
  meet();
  self->send(b.link, atom::leave::value, std::string("going home"));
  auto down = a.board->wait_for(link_event::kind::down);
  BOOST_TEST(holds(down.why.message, "going home"), down.why.message);
  BOOST_TEST(to_string(failure_of(a, ask).code) == "io");
}

BOOST_AUTO_TEST_SUITE_END()
