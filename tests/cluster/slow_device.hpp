// A device whose every list takes longer by as much as the test says, from when it says so.
#pragma once

#include "compute/device.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

namespace coel::testing {

using delay_ptr = std::shared_ptr<std::atomic<uint32_t>>; ///< us of a list

class slow_device : public compute::device {
 public:
  slow_device(compute::device_ptr real, delay_ptr delay)
      : real_(std::move(real)), delay_(std::move(delay)) {}

  result<compute::weight_ptr> load(const compute::matrix_view& matrix,
                                   compute::weight_use use) override {
    return real_->load(matrix, use);
  }
  result<compute::buffer_ptr> allocate(size_t bytes, compute::memory where) override {
    return real_->allocate(bytes, where);
  }
  result<compute::kv_cache_ptr> make_kv_cache(const compute::kv_shape& shape) override {
    return real_->make_kv_cache(shape);
  }
  void write(void* device_ptr, const void* host, size_t bytes) override {
    real_->write(device_ptr, host, bytes);
  }
  void read(void* host, const void* device_ptr, size_t bytes) override {
    real_->read(host, device_ptr, bytes);
  }
  void submit(compute::command_list list, compute::completion done) override {
    real_->submit(std::move(list),
                  [done = std::move(done), delay = delay_](const compute::completion_info& info) {
                    auto later = info;
                    later.busy_us += delay->load();
                    std::this_thread::sleep_for(std::chrono::microseconds(delay->load()));
                    done(later);
                  });
  }
  compute::device_status status() const override { return real_->status(); }

 private:
  compute::device_ptr real_;
  delay_ptr delay_;
};

} // namespace coel::testing
