// Counts an actor's messages and the time spent in its handlers.
#pragma once

#include "actors/messages.hpp"

#include <chrono>

namespace coel::actors {

using steady = std::chrono::steady_clock;

inline uint64_t us_between(steady::time_point a, steady::time_point b) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(b - a).count());
}

class meter {
 public:
  /// Held for the length of one handler.
  class span {
   public:
    explicit span(meter& m) : meter_(m), start_(steady::now()) { ++m.messages_; }
    ~span() { meter_.busy_ += steady::now() - start_; }
    span(const span&) = delete;
    span& operator=(const span&) = delete;

   private:
    meter& meter_;
    steady::time_point start_;
  };

  span measure() { return span(*this); }
  uint64_t messages() const { return messages_; }
  uint64_t busy_us() const {
    return static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(busy_).count());
  }

  template <class Self>
  component_status status(Self* self, std::string name, std::string model = {}) const {
    return {std::move(name), std::move(model), messages_, busy_us(),
            static_cast<uint32_t>(self->mailbox().size())};
  }

 private:
  uint64_t messages_ = 0;
  steady::duration busy_{};
};

} // namespace coel::actors
