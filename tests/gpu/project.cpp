// Projections against the reference, and their independence of company.
#include "devices.hpp"

using namespace coel;
using namespace coel::test;

namespace {

uint32_t columns(dtype type, uint32_t blocks) {
  return is_quantised(type) ? info(type).block_elements * blocks : 37 * blocks;
}

struct extras {
  const std::vector<float>* bias = nullptr;
  bool add = false; ///< to threes
};

std::vector<float> project(compute::device& dev, const matrix_view& m, const std::vector<float>& x,
                           uint32_t batch, extras more = {}) {
  auto w = load(dev, m);
  tensor in(dev, batch, w->cols(), x);
  auto out = more.add ? tensor(dev, batch, w->rows(), std::vector<float>(batch * w->rows(), 3.f))
                      : tensor(dev, batch, w->rows());
  std::optional<tensor> bias;
  if (more.bias)
    bias.emplace(dev, 1, w->rows(), *more.bias);
  run_all(dev, {compute::project{
                   in.view, {{w.get(), bias ? bias->view.data : nullptr, out.view, more.add}}}});
  return out.values();
}

/// Six standard deviations of the input's rounding, and the float error.
std::vector<double> tolerances(const matrix_view& m, const std::vector<float>& x, uint32_t batch) {
  auto w = compute::to_f32(m);
  std::vector<double> out;
  for (uint32_t b = 0; b < batch; ++b)
    for (uint64_t r = 0; r < m.rows; ++r) {
      const float* wr = w.data() + r * m.cols;
      const float* xr = x.data() + b * m.cols;
      double rounding = is_quantised(m.type) ? 6 * std::sqrt(rounding_variance(wr, xr, m.cols)) : 0;
      out.push_back(rounding + float_error(wr, xr, m.cols) + 1e-30);
    }
  return out;
}

void compare(compute::device& dev, dtype type, uint32_t rows, uint32_t cols, uint32_t batch) {
  BOOST_TEST_CONTEXT(dev.status().name << ' ' << to_string(type) << " [" << rows << ", " << cols
                                       << "] x " << batch) {
    auto m = random_matrix(type, rows, cols, rows * 7 + batch);
    auto x = random_values(size_t{batch} * cols, cols + batch);
    auto want = project(*reference(), m, x, batch);
    check_close(project(dev, m, x, batch), want, tolerances(m, x, batch));
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_project)

BOOST_AUTO_TEST_CASE(every_type_agrees_with_the_reference) {
  for (auto& d : devices())
    for (dtype type : all_dtypes) {
      for (uint32_t rows : {1u, 3u, 15u, 16u, 17u, 33u, 50u})
        compare(*d.device, type, rows, columns(type, 3), 1);
      for (uint32_t batch : {2u, 7u, 8u, 9u, 16u, 17u, 33u, 64u, 65u, 100u})
        compare(*d.device, type, 19, columns(type, 2), batch);
      compare(*d.device, type, 40, columns(type, 1), 2);
      compare(*d.device, type, 21, columns(type, 11), 3);
    }
}

BOOST_AUTO_TEST_CASE(a_card_agrees_at_the_sizes_of_models) {
  auto card = card_or_skip();
  if (!card)
    return;
  for (dtype type : all_dtypes)
    for (uint32_t batch : {1u, 3u, 60u, 300u}) {
      compare(*card, type, 1408, 2048, batch);
      compare(*card, type, 2048, is_quantised(type) ? 2816 / 256 * 256 : 1403, batch);
    }
}

BOOST_AUTO_TEST_CASE(a_card_and_its_emulation_agree_bit_for_bit) {
  auto card = card_or_skip();
  if (!card)
    return;
  for (dtype type : all_dtypes)
    for (uint32_t batch : {1u, 13u, 70u}) {
      auto m = random_matrix(type, 37, columns(type, 9), 3);
      auto x = random_values(size_t{batch} * m.cols, 4);
      check_same(project(*card, m, x, batch), project(*emulated(), m, x, batch));
    }
}

BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_its_batch) {
  for (auto& d : devices())
    for (dtype type : all_dtypes)
      BOOST_TEST_CONTEXT(d.name << ' ' << to_string(type)) {
        uint32_t cols = columns(type, 3);
        auto m = random_matrix(type, 37, cols, 21);
        auto x = random_values(size_t{70} * cols, 22);
        auto whole = project(*d.device, m, x, 70);
        for (uint32_t batch : {1u, 2u, 5u, 12u, 30u})
          for (uint32_t first : {0u, 35u}) {
            std::vector<float> some(x.begin() + first * cols, x.begin() + (first + batch) * cols);
            std::vector<float> want(whole.begin() + first * 37,
                                    whole.begin() + (first + batch) * 37);
            check_same(project(*d.device, m, some, batch), want);
          }
      }
}

BOOST_AUTO_TEST_CASE(the_order_of_threads_does_not_matter) {
  std::vector<compute::device_ptr> orders;
  for (uint32_t seed : {1u, 2u, 3u, 4u})
    orders.push_back(emulated(0, seed));
  for (dtype type : all_dtypes) {
    auto m = random_matrix(type, 37, columns(type, 3), 23);
    auto x = random_values(size_t{20} * m.cols, 24);
    auto want = project(*orders[0], m, x, 20);
    for (size_t i = 1; i < orders.size(); ++i)
      check_same(project(*orders[i], m, x, 20), want);
  }
}

BOOST_AUTO_TEST_CASE(a_slice_of_columns_is_a_matrix) {
  for (auto& d : devices())
    for (dtype type : all_dtypes) {
      uint32_t cols = columns(type, 2);
      auto whole = random_matrix(type, 20, 3 * cols, 5);
      auto slice = whole.col_slice(cols, cols).row_slice(2, 17);
      auto x = random_values(2 * cols, 6);
      auto want = project(*reference(), slice, x, 2);
      check_close(project(*d.device, slice, x, 2), want, tolerances(slice, x, 2));
    }
}

BOOST_AUTO_TEST_CASE(bias_and_add) {
  for (auto& d : devices())
    for (dtype type : {dtype::f32, dtype::q4_0}) {
      auto m = random_matrix(type, 21, 64, 31);
      auto x = random_values(3 * 64, 32);
      auto bias = random_values(21, 33);
      auto plain = project(*d.device, m, x, 3);
      auto biased = project(*d.device, m, x, 3, {&bias, false});
      auto added = project(*d.device, m, x, 3, {&bias, true});
      for (size_t i = 0; i < plain.size(); ++i) {
        BOOST_TEST(biased[i] == plain[i] + bias[i % 21]);
        BOOST_TEST(added[i] == 3.f + biased[i]);
      }
    }
}

BOOST_AUTO_TEST_CASE(outputs_of_mixed_types_share_an_input_and_the_host_may_have_one) {
  for (auto& d : devices()) {
    auto& dev = *d.device;
    auto a = random_matrix(dtype::q4_k, 48, 256, 41);
    auto b = random_matrix(dtype::f16, 7, 256, 42);
    auto c = random_matrix(dtype::q6_k, 33, 256, 43);
    auto x = random_values(4 * 256, 44);
    auto wa = load(dev, a), wb = load(dev, b), wc = load(dev, c);
    tensor in(dev, 4, 256, x), oa(dev, 4, 48), ob(dev, 4, 7);
    auto seen = dev.allocate(4 * 33 * sizeof(float), compute::memory::host_visible);
    BOOST_REQUIRE(seen.ok());
    run_all(dev, {compute::project{in.view,
                                   {{wa.get(), nullptr, oa.view},
                                    {wb.get(), nullptr, ob.view},
                                    {wc.get(), nullptr, {(*seen)->f32(), 4, 33}}}}});
    check_same(oa.values(), project(dev, a, x, 4));
    check_same(ob.values(), project(dev, b, x, 4));
    check_same({(*seen)->f32(), (*seen)->f32() + 4 * 33}, project(dev, c, x, 4));
  }
}

BOOST_AUTO_TEST_CASE(a_part_is_those_columns_of_the_whole_and_touches_no_others) {
  constexpr uint32_t rows = 3 * compute::projection_unit + 5, batch = 3;
  for (auto& d : devices())
    for (dtype type : {dtype::q4_0, dtype::q6_k, dtype::f16}) {
      auto& dev = *d.device;
      auto m = random_matrix(type, rows, columns(type, 1), 61);
      auto x = random_values(size_t{batch} * m.cols, 62);
      auto bias = random_values(rows, 63);
      auto w = load(dev, m);
      auto whole = project(dev, m, x, batch, {&bias, false});
      auto added = project(dev, m, x, batch, {&bias, true});
      tensor in(dev, batch, w->cols(), x), offsets(dev, 1, rows, bias);
      auto seen = dev.allocate(batch * rows * sizeof(float), compute::memory::host_visible);
      BOOST_REQUIRE(seen.ok());
      for (auto [first, end] : {std::pair{0u, 70u}, {64u, 128u}, {128u, rows}, {192u, 9999u}}) {
        const std::vector<float> threes(size_t{batch} * rows, 3.f);
        tensor out(dev, batch, rows, threes), sum(dev, batch, rows, threes);
        std::copy(threes.begin(), threes.end(), (*seen)->f32());
        auto part = [&, first = first, end = end](float* to, bool add) {
          return compute::projection{w.get(), offsets.view.data, {to, batch, rows}, add, first,
                                     end};
        };
        run_all(dev, {compute::project{in.view,
                                       {part(out.view.data, false), part((*seen)->f32(), false),
                                        part(sum.view.data, true)}}});
        auto want = threes, want_sum = threes;
        for (uint32_t b = 0; b < batch; ++b)
          for (uint32_t c = b * rows + first; c < b * rows + std::min(end, rows); ++c) {
            want[c] = whole[c];
            want_sum[c] = added[c];
          }
        check_same(out.values(), want);
        check_same({(*seen)->f32(), (*seen)->f32() + batch * rows}, want);
        check_same(sum.values(), want_sum);
      }
      tensor out(dev, batch, rows);
      for (auto [first, end] : {std::pair{1u, 64u}, {64u, 64u}, {256u, 300u}})
        BOOST_TEST(
            !compute::run(dev, {compute::project{
                                   in.view, {{w.get(), nullptr, out.view, false, first, end}}}})
                 .ok());
    }
}

BOOST_AUTO_TEST_CASE(zeros_stay_zeros) {
  for (auto& d : devices())
    for (dtype type : all_dtypes) {
      auto m = random_matrix(type, 17, columns(type, 1), 51);
      for (float v : project(*d.device, m, std::vector<float>(m.cols, 0.f), 1))
        BOOST_TEST(v == 0.f);
    }
}

BOOST_AUTO_TEST_SUITE_END()
