#include "actors/lane.hpp"

#include <caf/scheduler/abstract_coordinator.hpp>

namespace coel::actors {

namespace {

// A chain of one layer resumes about 20 actors; what goes on for longer is not a chain.
constexpr size_t max_jobs = 256;
constexpr size_t messages_per_job = 16;

} // namespace

lane::~lane() {
  for (auto* job : jobs_)
    system().scheduler().enqueue(job);
}

void lane::deliver(const caf::strong_actor_ptr& to, caf::message content) {
  to->enqueue(nullptr, caf::make_message_id(), std::move(content), this);
  for (size_t n = 0; n < max_jobs && !jobs_.empty(); ++n) {
    auto* job = jobs_.front();
    jobs_.pop_front();
    run(job);
  }
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
