// All threads of an actor system are let in soon when they wake, beside a device's that compute.
#pragma once

#include "model/prompt_thread.hpp"

#include <caf/thread_hook.hpp>

namespace coel::actors {

struct prompt_threads : caf::thread_hook {
  void init(caf::actor_system&) override {}
  void thread_started() override { model::be_prompt(); }
  void thread_terminates() override {}
};

} // namespace coel::actors
