// A layer's router over the hidden state that it gets itself is what the model computes.
#include "compute/quant.hpp"
#include "cpu/device.hpp"
#include "model/deep_routers.hpp"
#include "model/runner.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
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

BOOST_AUTO_TEST_CASE(deep_routers_compute_norm_and_router_in_any_layer) {
  auto source = *model::open_model(COEL_SOURCE_DIR "/models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf");
  const auto& c = source->config();
  auto routers = model::deep_routers::load(*source);
  BOOST_REQUIRE(routers.ok());
  std::vector<float> x(c.hidden), norm(c.hidden), row(c.hidden), logits;
  double square = 0;
  for (uint32_t h = 0; h < c.hidden; ++h) {
    x[h] = std::sin(static_cast<float>(h * h + 1));
    square += x[h] * x[h] / c.hidden;
  }
  for (uint32_t l = 0; l < c.layers; ++l) {
    auto layer = static_cast<layer_id>(l);
    (*routers)->apply(layer, x, logits);
    auto router = *source->matrix({model::role::router, layer, {}});
    auto scale = *source->matrix({model::role::ffn_norm, layer, {}});
    compute::dequantise_row(scale.type, scale.row(0), norm.data(), c.hidden);
    BOOST_REQUIRE(logits.size() == c.experts);
    for (uint32_t e = 0; e < c.experts; ++e) {
      compute::dequantise_row(router.type, router.row(e), row.data(), c.hidden);
      double exact = 0, sizes = 0;
      for (uint32_t h = 0; h < c.hidden; ++h) {
        double term = double{row[h]} * norm[h] * x[h] / std::sqrt(square + c.rms_eps);
        exact += term;
        sizes += std::abs(term);
      }
      BOOST_TEST(std::abs(logits[e] - exact) < 1e-3 * sizes); // weights are rounded to 16 bits
    }
  }
}
