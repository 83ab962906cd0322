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

result<std::shared_ptr<const expert_weights>> device::load_expert(const expert_views& from,
                                                                  weight_use use) {
  auto made = std::make_shared<expert_weights>();
  for (auto [view, into] : {std::pair{&from.gate, &made->gate}, std::pair{&from.up, &made->up},
                            std::pair{&from.down, &made->down}}) {
    auto loaded = load(*view, use);
    if (!loaded)
      return loaded.err();
    made->bytes += (*loaded)->resident_bytes();
    *into = std::move(*loaded);
  }
  return std::shared_ptr<const expert_weights>(std::move(made));
}

const kept_layout* layout_of(const device& dev) {
  const auto* keeps = dynamic_cast<const keeps_layout*>(&dev);
  return keeps ? keeps->layout() : nullptr;
}

} // namespace coel::compute
