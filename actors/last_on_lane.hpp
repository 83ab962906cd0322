// What need not be done before the chain of a token goes on.
#pragma once

namespace coel::actors {

/// An actor that a lane (lane.hpp) resumes behind all others, when the device has been given its
/// next list or there is none: the device's thread is then the one that the token does not wait
/// for.
class last_on_lane {
 public:
  virtual ~last_on_lane() = default;
};

} // namespace coel::actors
