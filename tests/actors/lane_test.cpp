#include "actors/lane.hpp"
#include "cpu/device.hpp"

#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>

#include <future>

using namespace coel;

BOOST_AUTO_TEST_SUITE(lane)

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
