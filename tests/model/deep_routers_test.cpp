// A layer's router over the hidden state that it gets itself is what the model computes.
#include "cpu/device.hpp"
#include "model/deep_routers.hpp"
#include "model/runner.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <set>

using namespace coel;

BOOST_AUTO_TEST_CASE(deep_routers_of_the_present_layer_choose_as_the_model_does) {
  auto source = *model::open_model(COEL_SOURCE_DIR "/models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf");
  const auto& c = source->config();
  compute::device_ptr device = *cpu::make_device({1, "", 0, false});
  auto routers = model::deep_routers::load(*source);
  BOOST_REQUIRE(routers.ok());
  auto run = model::runner::load(source, device, {64, 16, 4});
  BOOST_REQUIRE(run.ok());
  size_t seen = 0, same = 0;
  run->get()->observe_routing([&](uint32_t, layer_id layer, std::span<const int32_t> ids) {
    std::vector<float> residual(c.hidden), logits;
    device->read(residual.data(), run->get()->buffers().residual->data(),
                 residual.size() * sizeof(float));
    (*routers)->apply(layer, residual, logits);
    std::vector<int32_t> order(c.experts);
    for (uint32_t e = 0; e < c.experts; ++e)
      order[e] = static_cast<int32_t>(e);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
    });
    std::set<int32_t> guess(order.begin(), order.begin() + c.top_k),
        truth(ids.begin(), ids.begin() + c.top_k);
    ++seen;
    same += guess == truth;
  });
  for (int32_t token : {1, 40, 300, 17, 99, 256, 7, 120})
    BOOST_REQUIRE(run->get()->feed(std::vector<int32_t>{token}).ok());
  BOOST_TEST(seen == 8u * c.layers);
  BOOST_TEST(same + 1 >= seen); // rounding may swap two that are nearly even
}
