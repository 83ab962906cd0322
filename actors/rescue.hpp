// What a node does when a card fails: its models go on on what is left of the device, from their
// files. KV is lost with the card, so sessions feed their tokens again, as where a home dies.
#pragma once

#include "actors/hosting.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace coel::actors {

/// Hosts each model anew on the spare device, with all of it in the tier's memory, in place of what
/// there was. Blocks as a start does. Errors: unsupported (a part of a model is on disk only, or
/// there is no spare device), out_of_memory with what is missing, io.
result<void> rescue(caf::actor_system& system, hosted_models& models, const tier_actor& ram,
                    hosting_config config);

/// Looks whether a device's own memory is lost; calls `lost` once, on a thread of its own.
class device_watch {
 public:
  device_watch(compute::device_ptr device, std::function<void()> lost);
  ~device_watch();
  device_watch(const device_watch&) = delete;
  device_watch& operator=(const device_watch&) = delete;

 private:
  void run(const std::function<void()>& lost);

  compute::device_ptr device_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::thread thread_;
};

} // namespace coel::actors
