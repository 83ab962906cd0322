#include "actors/lane.hpp"

#include "actors/last_on_lane.hpp"

#include <caf/logger.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

// A chain of one layer resumes about 20 actors; what goes on for longer is not a chain.
constexpr size_t max_jobs = 256;
constexpr size_t messages_per_job = 16;

// An actor that is spawned binds the logger of its system to the thread it is spawned in, and a
// system's destructor waits until no thread has it: the device's thread may outlive the system.
struct system_of_thread {
  explicit system_of_thread(caf::actor_system& sys) { caf::logger::set_current_actor_system(&sys); }
  ~system_of_thread() { caf::logger::set_current_actor_system(nullptr); }
  system_of_thread(const system_of_thread&) = delete;
  system_of_thread& operator=(const system_of_thread&) = delete;
};

} // namespace

lane::~lane() {
  for (auto* job : jobs_)
    system().scheduler().enqueue(job);
}

void lane::deliver(const caf::strong_actor_ptr& to, caf::message content) {
  to->enqueue(nullptr, caf::make_message_id(), std::move(content), this);
  if (jobs_.empty())
    return;
  system_of_thread here{system()};
  for (size_t n = 0; n < max_jobs && !jobs_.empty(); ++n)
    run(next());
}

caf::resumable* lane::next() {
  auto first = std::find_if(jobs_.begin(), jobs_.end(), [](const caf::resumable* job) {
    return dynamic_cast<const last_on_lane*>(job) == nullptr;
  });
  if (first == jobs_.end())
    first = jobs_.begin();
  auto* job = *first;
  jobs_.erase(first);
  return job;
}

void lane::run(caf::resumable* job) {
  switch (job->resume(this, messages_per_job)) {
  case caf::resumable::resume_later:
    jobs_.push_back(job);
    break;
  case caf::resumable::done:
  case caf::resumable::awaiting_message:
  case caf::resumable::shutdown_execution_unit:
    caf::intrusive_ptr_release(job);
    break;
  }
}

} // namespace coel::actors
