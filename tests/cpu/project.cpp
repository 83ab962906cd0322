// Projections of every kernel set against the reference, and their independence of company.
#include "support.hpp"

using namespace coel;
using namespace coel::test;

namespace {

struct shape {
  uint32_t rows; // of the weight
  uint32_t cols;
};

uint32_t columns(dtype type, uint32_t blocks) {
  return is_quantised(type) ? info(type).block_elements * blocks : 37 * blocks;
}

std::vector<float> project(compute::device& dev, const matrix_view& m, const std::vector<float>& x,
                           uint32_t batch, const float* bias = nullptr, bool add = false) {
  auto w = load(dev, m);
  tensor in(dev, batch, w->cols(), x);
  tensor out(dev, batch, w->rows());
  if (add)
    std::fill_n(out.view.data, batch * w->rows(), 3.f);
  run_all(dev, {compute::project{in.view, {{w.get(), bias, out.view, add}}}});
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

void compare(const std::string& kernels, dtype type, shape s, uint32_t batch) {
  BOOST_TEST_CONTEXT(kernels << ' ' << to_string(type) << " [" << s.rows << ", " << s.cols << "] x "
                             << batch) {
    auto m = random_matrix(type, s.rows, s.cols, s.rows * 7 + batch);
    auto x = random_values(size_t{batch} * s.cols, s.cols + batch);
    auto want = project(*make("reference"), m, x, batch);
    check_close(project(*make(kernels), m, x, batch), want, tolerances(m, x, batch));
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(cpu_project)

BOOST_AUTO_TEST_CASE(a_part_is_those_columns_of_the_whole_and_touches_no_others) {
  constexpr uint32_t rows = 3 * compute::projection_unit + 5, cols = 256, batch = 3;
  auto m = random_matrix(dtype::q4_0, rows, cols, 1);
  auto x = random_values(size_t{batch} * cols, 2);
  for (const auto& kernels : cpu::usable_kernels()) {
    auto dev = make(kernels);
    auto whole = project(*dev, m, x, batch);
    auto w = load(*dev, m);
    for (auto [first, end] : {std::pair{0u, 70u}, {64u, 128u}, {128u, rows}, {192u, 9999u}}) {
      tensor in(*dev, batch, cols, x), out(*dev, batch, rows);
      std::fill_n(out.view.data, size_t{batch} * rows, -7.f);
      run_all(*dev, {compute::project{in.view, {{w.get(), nullptr, out.view, false, first, end}}}});
      auto got = out.values();
      for (uint32_t i = 0; i < batch * rows; ++i) {
        bool inside = i % rows >= first && i % rows < end;
        BOOST_TEST_REQUIRE(got[i] == (inside ? whole[i] : -7.f));
      }
    }
    tensor in(*dev, batch, cols, x), out(*dev, batch, rows);
    for (auto [first, end] : {std::pair{1u, 64u}, {64u, 64u}, {256u, 300u}})
      BOOST_TEST(
          !compute::run(
               *dev, {compute::project{in.view, {{w.get(), nullptr, out.view, false, first, end}}}})
               .ok());
  }
}

BOOST_AUTO_TEST_CASE(every_kernel_agrees_with_the_reference) {
  for (const auto& kernels : vector_sets())
    for (dtype type : all_dtypes) {
      for (uint32_t rows : {1u, 3u, 15u, 16u, 17u, 33u})
        compare(kernels, type, {rows, columns(type, 3)}, 1);
      for (uint32_t batch : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 33u})
        compare(kernels, type, {40, columns(type, 2)}, batch);
      compare(kernels, type, {19, columns(type, 1)}, 2);
    }
}

BOOST_AUTO_TEST_CASE(a_slice_of_columns_is_a_matrix) {
  for (const auto& kernels : vector_sets())
    for (dtype type : all_dtypes) {
      uint32_t cols = columns(type, 2);
      auto whole = random_matrix(type, 20, 3 * cols, 5);
      auto slice = whole.col_slice(cols, cols).row_slice(2, 17);
      auto x = random_values(2 * cols, 6);
      auto want = project(*make("reference"), slice, x, 2);
      check_close(project(*make(kernels), slice, x, 2), want, tolerances(slice, x, 2));
    }
}

BOOST_AUTO_TEST_CASE(the_reference_is_the_sum_it_claims_to_be) {
  for (dtype type : all_dtypes) {
    auto m = random_matrix(type, 5, columns(type, 2), 11);
    auto x = random_values(m.cols, 12);
    auto w = compute::to_f32(m);
    auto got = project(*make("reference"), m, x, 1);
    for (uint64_t r = 0; r < m.rows; ++r) {
      double sum = 0;
      for (uint64_t c = 0; c < m.cols; ++c)
        sum += double{w[r * m.cols + c]} * double{x[c]};
      BOOST_TEST(got[r] == static_cast<float>(sum));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_its_batch_or_on_the_threads) {
  for (const auto& kernels : cpu::usable_kernels())
    for (dtype type : all_dtypes)
      BOOST_TEST_CONTEXT(kernels << ' ' << to_string(type)) {
        uint32_t cols = columns(type, 2);
        auto m = random_matrix(type, 70, cols, 21);
        auto x = random_values(size_t{33} * cols, 22);
        auto whole = project(*make(kernels, 2), m, x, 33);
        check_same(project(*make(kernels, 1), m, x, 33), whole);
        check_same(project(*make(kernels, 3), m, x, 33), whole);
        for (uint32_t batch : {1u, 2u, 5u, 8u, 12u})
          for (uint32_t first : {0u, 20u}) {
            std::vector<float> some(x.begin() + first * cols, x.begin() + (first + batch) * cols);
            std::vector<float> want(whole.begin() + first * 70,
                                    whole.begin() + (first + batch) * 70);
            check_same(project(*make(kernels, 2), m, some, batch), want);
          }
      }
}

BOOST_AUTO_TEST_CASE(bias_and_add) {
  for (const auto& kernels : cpu::usable_kernels())
    for (dtype type : {dtype::f32, dtype::q4_0}) {
      auto m = random_matrix(type, 21, 64, 31);
      auto x = random_values(3 * 64, 32);
      auto bias = random_values(21, 33);
      auto dev = make(kernels);
      auto plain = project(*dev, m, x, 3);
      auto biased = project(*dev, m, x, 3, bias.data());
      auto added = project(*dev, m, x, 3, bias.data(), true);
      std::vector<double> close(plain.size(), 1e-5);
      std::vector<float> want_biased = plain;
      std::vector<float> want_added = plain;
      for (size_t i = 0; i < plain.size(); ++i) {
        want_biased[i] += bias[i % 21];
        want_added[i] = want_biased[i] + 3.f;
      }
      check_close(biased, want_biased, close);
      check_close(added, want_added, close);
    }
}

BOOST_AUTO_TEST_CASE(outputs_of_mixed_types_share_an_input) {
  for (const auto& kernels : vector_sets()) {
    auto dev = make(kernels);
    auto a = random_matrix(dtype::q4_k, 48, 256, 41);
    auto b = random_matrix(dtype::f16, 7, 256, 42);
    auto c = random_matrix(dtype::q6_k, 33, 256, 43);
    auto x = random_values(4 * 256, 44);
    auto wa = load(*dev, a), wb = load(*dev, b), wc = load(*dev, c);
    tensor in(*dev, 4, 256, x), oa(*dev, 4, 48), ob(*dev, 4, 7), oc(*dev, 4, 33);
    run_all(*dev, {compute::project{in.view,
                                    {{wa.get(), nullptr, oa.view},
                                     {wb.get(), nullptr, ob.view},
                                     {wc.get(), nullptr, oc.view}}}});
    check_same(oa.values(), project(*dev, a, x, 4));
    check_same(ob.values(), project(*dev, b, x, 4));
    check_same(oc.values(), project(*dev, c, x, 4));
  }
}

BOOST_AUTO_TEST_CASE(zeros_stay_zeros) {
  for (const auto& kernels : cpu::usable_kernels())
    for (dtype type : all_dtypes) {
      auto m = random_matrix(type, 17, columns(type, 1), 51);
      auto y = project(*make(kernels), m, std::vector<float>(m.cols, 0.f), 1);
      for (float v : y)
        BOOST_TEST(v == 0.f);
    }
}

BOOST_AUTO_TEST_CASE(packing_costs_at_most_three_percent) {
  for (const auto& kernels : vector_sets())
    for (dtype type : all_dtypes) {
      auto m = random_matrix(type, 64, 512, 61);
      auto size = static_cast<double>(load(*make(kernels), m)->resident_bytes());
      BOOST_TEST(size <= 1.03 * static_cast<double>(m.bytes()), to_string(type));
    }
}

BOOST_AUTO_TEST_SUITE_END()
