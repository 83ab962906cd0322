// The quantised row formats of GGUF on the host: plain, portable, and the truth for every kernel.
#pragma once

#include "common/result.hpp"
#include "compute/matrix.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace coel::compute {

float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float x); ///< round to nearest even
float bf16_to_f32(uint16_t bits);
uint16_t f32_to_bf16(float x); ///< round to nearest even

/// out[0..n) = the row's values. n is a multiple of the block length. Any bit pattern is valid
/// input.
void dequantise_row(dtype type, const std::byte* row, float* out, uint64_t n);

/// The reverse, round to nearest; for f32, f16, bf16, q8_0, q4_0, q4_k, q5_k, q6_k.
void quantise_row(dtype type, const float* row, std::byte* out, uint64_t n);

/// All values of a matrix, [rows, cols] packed.
std::vector<float> to_f32(const matrix_view& matrix);

} // namespace coel::compute
