// Random matrices and rows, devices with one kernel set, and buffers that start poisoned.
#pragma once

#include "compute/quant.hpp"
#include "cpu/device.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <random>

namespace coel::test {

using compute::matrix_view;
using compute::rows_f32;

inline constexpr dtype all_dtypes[] = {dtype::f32,  dtype::f16,  dtype::bf16, dtype::q8_0,
                                       dtype::q4_0, dtype::q4_k, dtype::q5_k, dtype::q6_k};

/// Kernel sets of this machine but the reference.
std::vector<std::string> vector_sets();

compute::device_ptr make(const std::string& kernels, uint32_t threads = 2,
                         uint64_t budget_bytes = 0);

std::vector<float> random_values(size_t n, uint32_t seed, float spread = 1.f);

/// Random bits in every field, but for scales, which are drawn so that values are around 1.
matrix_view random_matrix(dtype type, uint64_t rows, uint64_t cols, uint32_t seed);

compute::weight_ptr load(compute::device& dev, const matrix_view& m,
                         compute::weight_use use = compute::weight_use::project);

/// Device memory as a matrix; NaN until written.
struct tensor {
  compute::device& on;
  compute::buffer_ptr memory;
  rows_f32 view;

  tensor(compute::device& dev, uint32_t rows, uint32_t cols);
  tensor(compute::device& dev, uint32_t rows, uint32_t cols, const std::vector<float>& values);
  std::vector<float> values() const;
};

/// Runs and requires success.
void run_all(compute::device& dev, compute::command_list list);

/// Fails with the worst element if some |got - want| exceeds its tolerance (or is NaN).
void check_close(const std::vector<float>& got, const std::vector<float>& want,
                 const std::vector<double>& tolerance);

/// Bit for bit the same.
void check_same(const std::vector<float>& got, const std::vector<float>& want);

/// Variance of the rounding error in dot(w, x) when x is rounded to int8 by blocks of 32. A step is
/// s = max|x| / 127, its rounding error is uniform in +-s/2 with variance s^2/12, and the errors of
/// the elements are independent: sum over blocks of s^2/12 * |w_block|^2.
double rounding_variance(const float* w, const float* x, size_t n);

/// Bound of the float error of a dot product in any order: n * 2^-24 * sum |w_i x_i|, and as much
/// again for the conversions.
double float_error(const float* w, const float* x, size_t n);

} // namespace coel::test
