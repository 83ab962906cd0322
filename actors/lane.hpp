// Delivers a device's completion to an actor on the device's own thread.
//
// A layer step is a chain: device, gate, experts, device, scheduler. If each completion woke a
// sleeping thread of the actor system, a token of 24 layers would pay for some hundred wake-ups of
// 10 to 50 us. So the thread that finished a command list becomes an execution unit for as long as
// the chain runs: it resumes the receiver, and whom that sends to, and returns to the device when
// all of them wait. Handlers on the chain are therefore short, as everywhere.
#pragma once

#include "compute/device.hpp"

#include <caf/actor_cast.hpp>
#include <caf/actor_control_block.hpp>
#include <caf/actor_system.hpp>
#include <caf/execution_unit.hpp>
#include <caf/message.hpp>
#include <caf/resumable.hpp>

#include <deque>

namespace coel::actors {

class lane : public caf::execution_unit {
 public:
  explicit lane(caf::actor_system& sys) : caf::execution_unit(&sys) {}
  ~lane() override;

  void exec_later(caf::resumable* job) override { jobs_.push_back(job); }

  /// Sends and runs the chain until all wait, or hands the rest to the scheduler after a bound.
  void deliver(const caf::strong_actor_ptr& to, caf::message content);

 private:
  caf::resumable* next();
  void run(caf::resumable* job);
  std::deque<caf::resumable*> jobs_;
};

/// Submits a list; when it has run, `to` receives make_reply(info) as an asynchronous message.
/// `keep` owns what the list points to: the receiver may be gone before the list has run.
template <class Handle, class Keep, class MakeReply>
void submit(compute::device& dev, compute::command_list list, caf::actor_system& sys,
            const Handle& to, Keep keep, MakeReply make_reply) {
  auto receiver = caf::actor_cast<caf::strong_actor_ptr>(to);
  dev.submit(std::move(list),
             [&sys, receiver, keep, make_reply](const compute::completion_info& info) {
               lane(sys).deliver(receiver, make_reply(info));
             });
}

} // namespace coel::actors
