#include "compute/device.hpp"
#include "compute/kept_layout.hpp"

#include <future>

namespace coel::compute {

result<void> run(device& dev, command_list list) {
  std::promise<result<void>> done;
  auto outcome = done.get_future();
  dev.submit(std::move(list), [&](const completion_info& info) { done.set_value(info.outcome); });
  return outcome.get();
}

const kept_layout* layout_of(const device& dev) {
  const auto* keeps = dynamic_cast<const keeps_layout*>(&dev);
  return keeps ? keeps->layout() : nullptr;
}

} // namespace coel::compute
