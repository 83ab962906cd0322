#include "compute/device.hpp"

#include <future>

namespace coel::compute {

result<void> run(device& dev, command_list list) {
  std::promise<result<void>> done;
  auto outcome = done.get_future();
  dev.submit(std::move(list), [&](const completion_info& info) { done.set_value(info.outcome); });
  return outcome.get();
}

} // namespace coel::compute
