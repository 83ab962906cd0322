// The device as its users see it: budget, refusals, order of completions, light operations, and a
// card that is lost.
#include "devices.hpp"

#include <algorithm>
#include <cstring>
#include <future>
#include <limits>

using namespace coel;
using namespace coel::test;

namespace {

template <class T>
ec code_of(const result<T>& r) {
  return r.ok() ? ec::none : r.err().code;
}

ec outcome_of(compute::device& dev, compute::operation op) {
  return code_of(compute::run(dev, {std::move(op)}));
}

struct watched {
  std::shared_ptr<gpu::emulated_control> control = std::make_shared<gpu::emulated_control>();
  compute::device_ptr dev;
  explicit watched(uint64_t budget = 0, uint64_t memory = 1 << 30)
      : dev(gpu::make_device(gpu::make_emulated_card({memory, 4, 1}, control), budget)) {}
};

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_device)

BOOST_AUTO_TEST_CASE(the_budget_is_a_promise) {
  watched w(1'000'000);
  auto& dev = *w.dev;
  auto m = random_matrix(dtype::f32, 16, 1000, 1);
  {
    auto weight = load(dev, m);
    BOOST_TEST(weight->resident_bytes() == 64000u);
    auto table = load(dev, m, compute::weight_use::lookup);
    auto buffer = dev.allocate(800'000);
    BOOST_REQUIRE(buffer.ok());
    BOOST_TEST(dev.status().resident_bytes == 928'000u);
    auto refused = dev.allocate(100'000);
    BOOST_TEST((code_of(refused) == ec::out_of_memory));
    BOOST_TEST(refused.err().message.find("--gpu") != std::string::npos);
    BOOST_TEST((code_of(dev.load(random_matrix(dtype::f32, 32, 1000, 1),
                                 compute::weight_use::project)) == ec::out_of_memory));
    BOOST_TEST((code_of(dev.make_kv_cache({1, 1, 64, 32, 16})) == ec::out_of_memory));
    BOOST_TEST(w.control->allocated <= 1'000'000u);
  }
  BOOST_TEST(dev.status().resident_bytes == 0u);
  BOOST_TEST(dev.allocate(900'000).ok());
  BOOST_TEST(w.control->allocated <= 1'000'000u);
}

BOOST_AUTO_TEST_CASE(scratch_is_in_the_budget_too) {
  watched w(1 << 20);
  auto& dev = *w.dev;
  auto weight = load(dev, random_matrix(dtype::q4_0, 16, 256, 1));
  auto large = dev.allocate(900'000);
  tensor x(dev, 64, 256, random_values(64 * 256, 2)), y(dev, 64, 16);
  compute::project op{x.view, {{weight.get(), nullptr, y.view}}};
  BOOST_TEST((outcome_of(dev, op) == ec::out_of_memory));
  *large = nullptr;
  BOOST_TEST((outcome_of(dev, op) == ec::none));
}

BOOST_AUTO_TEST_CASE(a_full_card_is_a_refusal) {
  watched w(0, 1 << 20);
  BOOST_TEST(w.dev->allocate(900'000).ok());
  BOOST_TEST((code_of(w.dev->allocate(2 << 20)) == ec::out_of_memory));
  BOOST_TEST(w.dev->allocate(100'000).ok());
}

BOOST_AUTO_TEST_CASE(absurd_sizes_and_shapes_are_refused) {
  for (auto& d : devices()) {
    auto& dev = *d.device;
    BOOST_TEST((code_of(dev.allocate(size_t{1} << 60)) == ec::out_of_memory));
    BOOST_TEST((code_of(dev.allocate(SIZE_MAX)) == ec::out_of_memory));
    uint32_t most = UINT32_MAX;
    BOOST_TEST(
        (code_of(dev.make_kv_cache({most, most, 16, most - 15, most})) == ec::out_of_memory));
    BOOST_TEST((code_of(dev.make_kv_cache({1, 1, 64, 33, 1})) == ec::bad_argument));
    BOOST_TEST((code_of(dev.make_kv_cache({1, 1, 512, 32, 1})) == ec::unsupported));
    auto m = random_matrix(dtype::q4_k, 4, 512, 1);
    for (auto use : {compute::weight_use::project, compute::weight_use::lookup}) {
      auto odd = m;
      odd.cols = 500;
      BOOST_TEST((code_of(dev.load(odd, use)) == ec::unsupported));
      auto overlapping = m;
      overlapping.stride_bytes = 10;
      BOOST_TEST((code_of(dev.load(overlapping, use)) == ec::bad_argument));
    }
  }
}

BOOST_AUTO_TEST_CASE(wrong_operations_are_refused) {
  for (auto& d : devices()) {
    auto& dev = *d.device;
    auto m = random_matrix(dtype::f32, 40, 16, 1);
    auto w = load(dev, m);
    auto table = load(dev, m, compute::weight_use::lookup);
    tensor x(dev, 2, 16, std::vector<float>(32)), y(dev, 2, 40), k(dev, 2, 40);
    auto refused = [&](compute::operation op) {
      return outcome_of(dev, std::move(op)) == ec::bad_argument;
    };
    BOOST_TEST(refused(compute::embed{table.get(), {0, 40}, x.view}));
    BOOST_TEST(refused(compute::embed{w.get(), {0, 1}, x.view}));
    BOOST_TEST(refused(compute::rms_norm{x.view, nullptr, 1e-6f, x.view}));
    BOOST_TEST(refused(compute::project{x.view, {{table.get(), nullptr, y.view}}}));
    BOOST_TEST(refused(compute::project{y.view, {{w.get(), nullptr, y.view}}}));
    auto other = load(*emulated(), m);
    BOOST_TEST(refused(compute::project{x.view, {{other.get(), nullptr, y.view}}}));
    auto on_cpu = load(*reference(), m);
    BOOST_TEST(refused(compute::project{x.view, {{on_cpu.get(), nullptr, y.view}}}));
    BOOST_TEST(refused(compute::run_experts{x.view, {{nullptr, {0}, {1.f}}}, x.view}));
    BOOST_TEST((outcome_of(dev, compute::route{y.view, 33, false, k.memory->i32(), k.view.data}) ==
                ec::unsupported));
  }
}

BOOST_AUTO_TEST_CASE(light_operations) {
  for (auto& d : devices())
    for (uint32_t cols : {256u, 2048u}) {
      auto& dev = *d.device;
      auto m = random_matrix(dtype::q6_k, 9, cols, 4);
      auto table = load(dev, m, compute::weight_use::lookup);
      auto values = compute::to_f32(m);
      auto gains = random_values(cols, 5);
      tensor x(dev, 3, cols), y(dev, 2, cols), gain(dev, 1, cols, gains);
      run_all(dev, {compute::embed{table.get(), {8, 0, 8}, x.view},
                    compute::gather{x.view, {1, 2}, y.view}, compute::add{y.view, y.view},
                    compute::rms_norm{x.view, gain.view.data, 0.5f, x.view}});
      auto sums = y.values();
      double square = 0;
      for (uint32_t c = 0; c < cols; ++c) {
        BOOST_REQUIRE_EQUAL(sums[c], 2 * values[c]);
        BOOST_REQUIRE_EQUAL(sums[cols + c], 2 * values[8 * cols + c]);
        square += double{values[c]} * double{values[c]};
      }
      std::vector<float> want(cols);
      for (uint32_t c = 0; c < cols; ++c)
        want[c] = static_cast<float>(values[c] / std::sqrt(square / cols + 0.5) * gains[c]);
      auto normed = x.values();
      check_close({normed.begin() + cols, normed.begin() + 2 * cols}, want,
                  std::vector<double>(cols, 2e-6));
    }
}

BOOST_AUTO_TEST_CASE(every_type_can_be_looked_up) {
  for (auto& d : devices())
    for (dtype type : all_dtypes) {
      uint32_t cols = is_quantised(type) ? 512 : 37;
      auto m = random_matrix(type, 5, cols, 6);
      auto table = load(*d.device, m, compute::weight_use::lookup);
      tensor x(*d.device, 2, cols);
      run_all(*d.device, {compute::embed{table.get(), {4, 1}, x.view}});
      auto all = compute::to_f32(m);
      std::vector<float> want(all.begin() + 4 * cols, all.begin() + 5 * cols);
      want.insert(want.end(), all.begin() + cols, all.begin() + 2 * cols);
      check_same(x.values(), want);
    }
}

BOOST_AUTO_TEST_CASE(sigmoid_is_one) {
  for (auto& d : devices()) {
    tensor x(*d.device, 1, 5, {0.f, 1.f, -2.f, 100.f, -100.f});
    run_all(*d.device, {compute::sigmoid{x.view}});
    check_close(x.values(), {0.5f, 0.7310586f, 0.1192029f, 1.f, 0.f}, std::vector<double>(5, 1e-6));
  }
}

BOOST_AUTO_TEST_CASE(routing_agrees_with_the_cpu) {
  for (auto& d : devices())
    for (uint32_t experts : {5u, 60u, 130u})
      for (bool renormalise : {false, true}) {
        uint32_t rows = 11, top_k = std::min(8u, experts);
        auto logits = random_values(size_t{rows} * experts, experts, 2.f);
        float nan = std::numeric_limits<float>::quiet_NaN();
        std::fill_n(logits.begin(), experts, 7.f); // equals: the smaller id
        logits[experts] = logits[experts + 2] = nan;
        std::vector<int32_t> ids[2];
        std::vector<float> weights[2];
        for (int i = 0; i < 2; ++i) {
          auto keep = i == 0 ? reference() : d.device;
          tensor in(*keep, rows, experts, logits);
          auto id = keep->allocate(rows * top_k * 4, compute::memory::host_visible);
          auto weight = keep->allocate(rows * top_k * 4, compute::memory::host_visible);
          run_all(*keep,
                  {compute::route{in.view, top_k, renormalise, (*id)->i32(), (*weight)->f32()}});
          ids[i].assign((*id)->i32(), (*id)->i32() + rows * top_k);
          weights[i].assign((*weight)->f32(), (*weight)->f32() + rows * top_k);
        }
        BOOST_TEST(ids[1] == ids[0], boost::test_tools::per_element());
        weights[0].erase(weights[0].begin() + top_k, weights[0].begin() + 2 * top_k); // the NaNs
        weights[1].erase(weights[1].begin() + top_k, weights[1].begin() + 2 * top_k);
        check_close(weights[1], weights[0], std::vector<double>(weights[0].size(), 1e-6));
      }
}

BOOST_AUTO_TEST_CASE(lists_complete_in_order_errors_among_them) {
  for (auto& d : devices()) {
    auto before = d.device->status().lists_run;
    tensor x(*d.device, 1, 64, std::vector<float>(64, 1.f));
    std::vector<int> order;
    std::promise<void> last;
    for (int i = 0; i < 20; ++i) {
      compute::command_list list;
      if (i % 3 == 0)
        list.push_back(compute::gather{x.view, {9}, x.view});
      else if (i % 3 == 1)
        list.push_back(compute::add{x.view, x.view});
      d.device->submit(std::move(list), [&, i](const compute::completion_info& info) {
        order.push_back(info.outcome.ok() ? i : -i);
        if (i == 19)
          last.set_value();
      });
    }
    last.get_future().wait();
    for (int i = 0; i < 20; ++i)
      BOOST_TEST(order[static_cast<size_t>(i)] == (i % 3 == 0 ? -i : i));
    BOOST_TEST(x.values()[0] == 128.f);
    BOOST_TEST(d.device->status().lists_run == before + 20u);
  }
}

BOOST_AUTO_TEST_CASE(a_completion_may_hold_the_last_reference_to_its_device) {
  std::promise<bool> done;
  auto dev = emulated();
  auto w = load(*dev, random_matrix(dtype::q4_0, 32, 64, 1));
  auto* raw = dev.get();
  std::promise<void> released;
  auto future = released.get_future().share();
  raw->submit({}, [d = dev, future, &done](const compute::completion_info& info) mutable {
    future.wait();
    d = nullptr;
    done.set_value(info.outcome.ok());
  });
  dev = nullptr;
  released.set_value();
  BOOST_TEST(done.get_future().get());
}

BOOST_AUTO_TEST_CASE(a_lost_card_fails_what_is_under_way_and_all_that_follows) {
  watched w;
  auto& dev = *w.dev;
  tensor x(dev, 1, 64, std::vector<float>(64, 1.f));
  w.control->held = true;
  std::vector<std::future<ec>> outcomes;
  auto submit = [&] {
    auto told = std::make_shared<std::promise<ec>>();
    outcomes.push_back(told->get_future());
    dev.submit({compute::add{x.view, x.view}}, [told](const compute::completion_info& info) {
      told->set_value(code_of(info.outcome));
    });
  };
  submit();
  submit();
  w.control->lost = true;
  submit();
  for (auto& o : outcomes)
    BOOST_TEST((o.get() == ec::device_lost));
  w.control->lost = false; // even if calls worked again: its memory is gone
  BOOST_TEST((outcome_of(dev, compute::add{x.view, x.view}) == ec::device_lost));
  BOOST_TEST((code_of(dev.load(random_matrix(dtype::q4_0, 16, 64, 1),
                               compute::weight_use::project)) == ec::device_lost));
}

BOOST_AUTO_TEST_CASE(without_a_card_there_is_a_reason) {
  auto made = gpu::make_device({1000, 0});
  BOOST_REQUIRE(!made.ok());
  BOOST_TEST((made.err().code == ec::unsupported || made.err().code == ec::bad_argument));
  BOOST_TEST(!made.err().message.empty());
}

BOOST_AUTO_TEST_SUITE_END()
