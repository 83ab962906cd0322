// The device as its users see it: choice of kernels, budget, refusals, light operations.
#include "support.hpp"

#include <algorithm>
#include <cstdlib>
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

compute::kv_cache_ptr cache_of(compute::device& dev) {
  auto made = dev.make_kv_cache({1, 1, 16, 32, 2});
  BOOST_REQUIRE(made.ok());
  return *made;
}

} // namespace

BOOST_AUTO_TEST_SUITE(cpu_device)

BOOST_AUTO_TEST_CASE(kernels_can_be_forced) {
  for (const auto& name : cpu::usable_kernels())
    BOOST_TEST(make(name)->status().name == "cpu/" + name);
  auto unknown = cpu::make_device({1, "mmx", 0, false});
  BOOST_REQUIRE(!unknown.ok());
  BOOST_TEST((unknown.err().code == ec::bad_argument));
  BOOST_TEST(unknown.err().message.find("reference") != std::string::npos);
  setenv("COEL_CPU", "reference", 1);
  BOOST_TEST(make("")->status().name == "cpu/reference");
  BOOST_TEST(make(cpu::usable_kernels()[0])->status().name == "cpu/" + cpu::usable_kernels()[0]);
  setenv("COEL_CPU", "sse9", 1);
  BOOST_TEST(!cpu::make_device({}).ok());
  unsetenv("COEL_CPU");
  BOOST_TEST(make("")->status().name == "cpu/" + cpu::usable_kernels()[0]);
}

BOOST_AUTO_TEST_CASE(threads_default_to_the_cores_and_have_a_limit) {
  auto dev = cpu::make_device({});
  BOOST_REQUIRE(dev.ok());
  BOOST_TEST((*dev)->status().threads >= 1u);
  BOOST_TEST((code_of(cpu::make_device({100000, "", 0, true})) == ec::bad_argument));
}

BOOST_AUTO_TEST_CASE(the_budget_counts_everything_and_gets_it_back) {
  for (const auto& kernels : cpu::usable_kernels()) {
    auto dev = make(kernels, 1, 100000);
    auto owned = random_matrix(dtype::f32, 16, 1000, 1);
    auto m = owned;
    m.owner = nullptr; // so that no set can read it in place
    {
      auto w = load(*dev, m);
      BOOST_TEST(w->resident_bytes() == 64000u);
      BOOST_TEST(dev->status().resident_bytes == 64000u);
      BOOST_TEST((code_of(dev->load(m, compute::weight_use::project)) == ec::out_of_memory));
      BOOST_TEST((code_of(dev->load(m, compute::weight_use::lookup)) == ec::out_of_memory));
      auto buffer = dev->allocate(30000);
      BOOST_REQUIRE(buffer.ok());
      BOOST_TEST((code_of(dev->allocate(10000)) == ec::out_of_memory));
      BOOST_TEST((code_of(dev->make_kv_cache({1, 1, 64, 32, 1})) == ec::out_of_memory));
      BOOST_TEST(dev->status().resident_bytes == 94000u);
    }
    BOOST_TEST(dev->status().resident_bytes == 0u);
    BOOST_TEST(dev->make_kv_cache({1, 1, 64, 32, 12}).ok());
  }
}

BOOST_AUTO_TEST_CASE(absurd_sizes_are_refused) {
  auto dev = make("reference", 1);
  BOOST_TEST((code_of(dev->allocate(size_t(1) << 60)) == ec::out_of_memory));
  uint32_t most = UINT32_MAX;
  BOOST_TEST(
      (code_of(dev->make_kv_cache({most, most, most, most - 15, most})) == ec::out_of_memory));
  BOOST_TEST((code_of(dev->make_kv_cache({1, 1, 64, 33, 1})) == ec::bad_argument));
  BOOST_TEST((code_of(dev->make_kv_cache({1, 0, 64, 32, 1})) == ec::bad_argument));
}

BOOST_AUTO_TEST_CASE(matrices_of_impossible_shape_are_refused) {
  for (const auto& kernels : cpu::usable_kernels()) {
    auto dev = make(kernels, 1);
    auto m = random_matrix(dtype::q4_k, 4, 512, 1);
    for (auto use : {compute::weight_use::project, compute::weight_use::lookup}) {
      auto odd = m;
      odd.cols = 500;
      BOOST_TEST((code_of(dev->load(odd, use)) == ec::unsupported));
      auto empty = m;
      empty.rows = 0;
      BOOST_TEST((code_of(dev->load(empty, use)) == ec::unsupported));
      auto overlapping = m;
      overlapping.stride_bytes = 10;
      BOOST_TEST((code_of(dev->load(overlapping, use)) == ec::bad_argument));
    }
  }
}

BOOST_AUTO_TEST_CASE(wrong_operations_are_refused) {
  for (const auto& kernels : cpu::usable_kernels()) {
    auto dev = make(kernels);
    auto m = random_matrix(dtype::f32, 10, 16, 1);
    auto w = load(*dev, m);
    auto table = load(*dev, m, compute::weight_use::lookup);
    tensor x(*dev, 2, 16, std::vector<float>(32)), y(*dev, 2, 10);
    auto refused = [&](compute::operation op) {
      return outcome_of(*dev, std::move(op)) == ec::bad_argument;
    };
    BOOST_TEST(refused(compute::embed{table.get(), {0, 10}, x.view}));
    BOOST_TEST(refused(compute::embed{table.get(), {0, -1}, x.view}));
    BOOST_TEST(refused(compute::embed{table.get(), {0}, x.view}));
    BOOST_TEST(refused(compute::embed{nullptr, {0, 1}, x.view}));
    BOOST_TEST(refused(compute::rms_norm{x.view, nullptr, 1e-6f, x.view}));
    BOOST_TEST(refused(compute::rms_norm{x.view, x.view.data, 1e-6f, y.view}));
    BOOST_TEST(refused(compute::project{x.view, {{nullptr, nullptr, y.view}}}));
    BOOST_TEST(refused(compute::project{y.view, {{w.get(), nullptr, y.view}}}));
    BOOST_TEST(refused(compute::project{{nullptr, 2, 16}, {{w.get(), nullptr, y.view}}}));
    BOOST_TEST(refused(compute::route{y.view, 11, false, nullptr, nullptr}));
    BOOST_TEST(refused(compute::gather{x.view, {0, 2}, x.view}));
    BOOST_TEST(refused(compute::add{x.view, y.view}));
    BOOST_TEST(refused(compute::run_experts{x.view, {{nullptr, {0}, {1.f}}}, x.view}));
    auto other = load(*make(kernels == "reference" ? cpu::usable_kernels()[0] : "reference"), m);
    if (cpu::usable_kernels().size() > 1)
      BOOST_TEST(refused(compute::project{x.view, {{other.get(), nullptr, y.view}}}));
  }
}

BOOST_AUTO_TEST_CASE(wrong_attention_is_refused) {
  auto dev = make("reference");
  auto cache = cache_of(*dev);
  tensor x(*dev, 3, 16, std::vector<float>(48));
  compute::attend good{x.view, x.view, x.view, x.view, cache.get(), 0, 1, {}, {{0, 3, 30, {0, 1}}}};
  auto refused = [&](auto change) {
    auto op = good;
    change(op);
    return outcome_of(*dev, op) == ec::bad_argument;
  };
  BOOST_TEST((outcome_of(*dev, good) == ec::none));
  BOOST_TEST(refused([](auto& op) { op.cache = nullptr; }));
  BOOST_TEST(refused([](auto& op) { op.layer = 1; }));
  BOOST_TEST(refused([](auto& op) { op.heads = 0; }));
  BOOST_TEST(refused([](auto& op) { op.heads = 2; }));
  BOOST_TEST(refused([](auto& op) { op.rope.dims = 18; }));
  BOOST_TEST(refused([](auto& op) { op.rope.dims = 3; }));
  BOOST_TEST(refused([](auto& op) { op.segments[0].pages = {0}; }));
  BOOST_TEST(refused([](auto& op) { op.segments[0].pages = {0, 2}; }));
  BOOST_TEST(refused([](auto& op) { op.segments[0].first_row = 1; }));
  BOOST_TEST(refused([](auto& op) { op.segments[0].position = UINT32_MAX; }));
}

BOOST_AUTO_TEST_CASE(light_operations) {
  for (const auto& kernels : cpu::usable_kernels()) {
    auto dev = make(kernels);
    auto m = random_matrix(dtype::q6_k, 9, 256, 4);
    auto table = load(*dev, m, compute::weight_use::lookup);
    auto values = compute::to_f32(m);
    tensor x(*dev, 3, 256), y(*dev, 2, 256), gain(*dev, 1, 256, random_values(256, 5));
    run_all(*dev, {compute::embed{table.get(), {8, 0, 8}, x.view},
                   compute::gather{x.view, {1, 2}, y.view}, compute::add{y.view, y.view},
                   compute::rms_norm{x.view, gain.view.data, 0.5f, x.view}});
    for (uint32_t c = 0; c < 256; ++c) {
      BOOST_TEST(y.view.row(0)[c] == 2 * values[c]);
      BOOST_TEST(y.view.row(1)[c] == 2 * values[8 * 256 + c]);
    }
    double square = 0;
    for (uint32_t c = 0; c < 256; ++c)
      square += double{values[c]} * double{values[c]};
    std::vector<float> want(256);
    for (uint32_t c = 0; c < 256; ++c)
      want[c] = static_cast<float>(values[c] / std::sqrt(square / 256 + 0.5) * gain.view.data[c]);
    auto normed = x.values();
    check_close({normed.begin() + 256, normed.begin() + 512}, want, std::vector<double>(256, 1e-6));
    BOOST_TEST(table->resident_bytes() == 0u);
  }
}

BOOST_AUTO_TEST_CASE(sigmoid_is_one) {
  auto dev = make("");
  tensor x(*dev, 1, 5, {0.f, 1.f, -2.f, 100.f, -100.f});
  run_all(*dev, {compute::sigmoid{x.view}});
  check_close(x.values(), {0.5f, 0.7310586f, 0.1192029f, 1.f, 0.f}, std::vector<double>(5, 1e-6));
}

BOOST_AUTO_TEST_CASE(routing_takes_the_likeliest_and_the_smaller_of_equals) {
  auto dev = make("");
  float nan = std::numeric_limits<float>::quiet_NaN();
  tensor logits(*dev, 3, 5, {1, 3, 3, 0, 3, 7, 7, 7, 7, 7, nan, 1, nan, 2, 0});
  tensor ids(*dev, 3, 3), weights(*dev, 3, 3);
  auto chosen = [&](bool renormalise) {
    run_all(*dev,
            {compute::route{logits.view, 3, renormalise, ids.memory->i32(), weights.view.data}});
    return std::vector<int32_t>(ids.memory->i32(), ids.memory->i32() + 9);
  };
  BOOST_TEST(chosen(false) == (std::vector<int32_t>{1, 2, 4, 0, 1, 2, 3, 1, 4}),
             boost::test_tools::per_element());
  double total = std::exp(-2.) + std::exp(-3.) + 3;
  BOOST_TEST(weights.view.row(0)[0] == static_cast<float>(1 / total));
  BOOST_TEST(weights.view.row(1)[2] == 0.2f);
  chosen(true);
  BOOST_TEST(weights.view.row(0)[0] == static_cast<float>(1. / 3));
  BOOST_TEST(weights.view.row(1)[1] == static_cast<float>(1. / 3));
}

BOOST_AUTO_TEST_CASE(lists_complete_in_order_errors_among_them) {
  auto dev = make("");
  tensor x(*dev, 1, 64, std::vector<float>(64, 1.f));
  std::vector<int> order;
  std::promise<void> last;
  for (int i = 0; i < 20; ++i) {
    compute::command_list list;
    if (i % 3 == 0)
      list.push_back(compute::gather{x.view, {9}, x.view});
    else if (i % 3 == 1)
      list.push_back(compute::add{x.view, x.view});
    dev->submit(std::move(list), [&, i](const compute::completion_info& info) {
      order.push_back(info.outcome.ok() ? i : -i);
      if (i == 19)
        last.set_value();
    });
  }
  last.get_future().wait();
  for (int i = 0; i < 20; ++i)
    BOOST_TEST(order[static_cast<size_t>(i)] == (i % 3 == 0 ? -i : i));
  BOOST_TEST(x.view.data[0] == 128.f);
  BOOST_TEST(dev->status().lists_run == 20u);
}

BOOST_AUTO_TEST_CASE(a_completion_may_hold_the_last_reference_to_its_device) {
  for (uint32_t threads : {1u, 2u}) {
    std::promise<bool> done;
    auto dev = make("", threads);
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
}

BOOST_AUTO_TEST_SUITE_END()
