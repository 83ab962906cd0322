#include "actors/lane.hpp"
#include "actors/last_on_lane.hpp"
#include "cpu/device.hpp"

#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>

#include <future>

using namespace coel;

namespace {

/// Who was resumed, in which order; told when it is whole.
struct order_seen {
  std::vector<std::string> names;
  std::promise<void> whole;
  void note(const char* name) {
    names.push_back(name);
    if (names.size() == 4)
      whole.set_value();
  }
};

class patient : public caf::event_based_actor, public actors::last_on_lane {
 public:
  patient(caf::actor_config& how, order_seen& seen) : caf::event_based_actor(how), seen_(seen) {}
  caf::behavior make_behavior() override {
    return {[this](int) { seen_.note("patient"); }};
  }

 private:
  order_seen& seen_;
};

} // namespace

BOOST_AUTO_TEST_SUITE(lane)

BOOST_AUTO_TEST_CASE(who_can_wait_is_resumed_behind_the_whole_chain,
                     *boost::unit_test::timeout(60)) {
  auto device = *cpu::make_device({1, "", 0, false});
  order_seen seen;
  caf::actor_system_config config;
  caf::actor_system system(config);
  // Else the scheduler resumes each once, maybe only when its message is there.
  auto patient_one = system.spawn<patient, caf::lazy_init>(seen);
  auto third = system.spawn<caf::lazy_init>([&](caf::event_based_actor*) -> caf::behavior {
    return {[&seen](int) { seen.note("third"); }};
  });
  auto second = system.spawn<caf::lazy_init>([&](caf::event_based_actor* self) -> caf::behavior {
    return {[&seen, self, third](int) {
      seen.note("second");
      self->send(third, 1);
    }};
  });
  auto first = system.spawn<caf::lazy_init>([&](caf::event_based_actor* self) -> caf::behavior {
    return {[&seen, self, second, patient_one](int) {
      seen.note("first");
      self->send(patient_one, 1);
      self->send(second, 1);
    }};
  });
  actors::submit(*device, {}, system, first, 0,
                 [](const compute::completion_info&) { return caf::make_message(1); });
  seen.whole.get_future().wait();
  std::vector<std::string> expected{"first", "second", "third", "patient"};
  BOOST_CHECK_EQUAL_COLLECTIONS(seen.names.begin(), seen.names.end(), expected.begin(),
                                expected.end());
}

// A device serves longer than a node: its thread must not hold what the node's system waits for.
BOOST_AUTO_TEST_CASE(a_system_ends_before_the_device_whose_thread_spawned_its_actors,
                     *boost::unit_test::timeout(60)) {
  auto device = *cpu::make_device({1, "", 0, false});
  std::promise<std::thread::id> spawned_in;
  {
    caf::actor_system_config config;
    caf::actor_system system(config);
    auto receiver = system.spawn([&](caf::event_based_actor* self) -> caf::behavior {
      return {[&spawned_in, self](int) {
        self->spawn([](caf::event_based_actor*) {});
        spawned_in.set_value(std::this_thread::get_id());
        self->quit();
      }};
    });
    actors::submit(*device, {}, system, receiver, 0,
                   [](const compute::completion_info&) { return caf::make_message(1); });
  }
  BOOST_TEST((spawned_in.get_future().get() != std::this_thread::get_id()));
}

BOOST_AUTO_TEST_SUITE_END()
