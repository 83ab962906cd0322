// Float rows into the formats of GGUF. K-quants: quantise_k.cpp.
#include "compute/quant.hpp"
#include "compute/quantise_k.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

namespace coel::compute {

namespace {

constexpr float f16_most = 65504.f;
constexpr float bf16_most = 0x1.fep127f;

/// Finite and within the limit, so that no arithmetic after this can overflow.
float tamed(float x, float limit) {
  return std::isnan(x) ? 0.f : std::clamp(x, -limit, limit);
}

void put_u16(std::byte* at, uint16_t bits) {
  at[0] = static_cast<std::byte>(bits & 0xff);
  at[1] = static_cast<std::byte>(bits >> 8);
}

/// The element of largest magnitude, with its sign.
float peak(const float* x, int n) {
  return *std::max_element(x, x + n, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
}

/// Steps per unit for a scale: none at all where its f16 form is zero, as everything reads back 0.
float inverse_of(float scale) {
  return (f32_to_f16(scale) & 0x7fff) ? 1.f / scale : 0.f;
}

/// Scale so that the largest magnitude becomes 127.
void encode_q8_0(const float* x, std::byte* block) {
  float d = std::fabs(peak(x, 32)) / 127.f;
  float inverse = inverse_of(d);
  put_u16(block, f32_to_f16(d));
  for (int i = 0; i < 32; ++i)
    block[2 + i] = static_cast<std::byte>(static_cast<int8_t>(std::lround(x[i] * inverse)));
}

/// Scale of either sign so that the largest magnitude becomes -8, the end of the longer side.
void encode_q4_0(const float* x, std::byte* block) {
  float d = peak(x, 32) / -8.f;
  float inverse = inverse_of(d);
  put_u16(block, f32_to_f16(d));
  auto code = [&](float v) { return std::min(15, static_cast<int>(v * inverse + 8.5f)); };
  for (int i = 0; i < 16; ++i)
    block[2 + i] = static_cast<std::byte>(code(x[i]) | code(x[16 + i]) << 4);
}

template <void (*Encode)(const float*, std::byte*)>
void each_block(dtype type, float limit, const float* row, std::byte* out, uint64_t n) {
  const auto& geometry = info(type);
  std::array<float, k_block> x;
  for (uint64_t i = 0; i < n; i += geometry.block_elements, out += geometry.block_bytes) {
    for (uint32_t k = 0; k < geometry.block_elements; ++k)
      x[k] = tamed(row[i + k], limit);
    Encode(x.data(), out);
  }
}

template <uint16_t (*Convert)(float)>
void each_element(float limit, const float* row, std::byte* out, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i)
    put_u16(out + 2 * i, Convert(tamed(row[i], limit)));
}

} // namespace

void quantise_row(dtype type, const float* row, std::byte* out, uint64_t n) {
  switch (type) {
  case dtype::f32:
    std::memcpy(out, row, n * sizeof(float));
    return;
  case dtype::f16:
    return each_element<f32_to_f16>(f16_most, row, out, n);
  case dtype::bf16:
    return each_element<f32_to_bf16>(bf16_most, row, out, n);
  case dtype::q8_0:
    return each_block<encode_q8_0>(type, f16_most * 127, row, out, n);
  case dtype::q4_0:
    return each_block<encode_q4_0>(type, f16_most * 8, row, out, n);
  case dtype::q4_k:
    return each_block<encode_q4_k>(type, k_limit, row, out, n);
  case dtype::q5_k:
    return each_block<encode_q5_k>(type, k_limit, row, out, n);
  case dtype::q6_k:
    return each_block<encode_q6_k>(type, k_limit, row, out, n);
  }
}

} // namespace coel::compute
