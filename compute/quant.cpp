// Block layouts: the GGUF specification and its k-quants (super-blocks of 256 with 6-bit scales).
#include "compute/quant.hpp"

#include <bit>
#include <cstring>

namespace coel::compute {

namespace {

uint8_t byte_at(const std::byte* p) {
  return static_cast<uint8_t>(*p);
}

uint16_t half_at(const std::byte* p) {
  return static_cast<uint16_t>(byte_at(p) | byte_at(p + 1) << 8);
}

/// Rounds away `bits` low bits, to nearest, ties to even; the carry may run into higher fields.
uint32_t round_off(uint32_t x, uint32_t bits) {
  uint32_t half = 1u << (bits - 1);
  uint32_t odd = (x >> bits) & 1;
  return (x + half - 1 + odd) >> bits;
}

void copy_f32(const std::byte* row, float* out, uint64_t n) {
  std::memcpy(out, row, n * sizeof(float));
}

void copy_f16(const std::byte* row, float* out, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i)
    out[i] = f16_to_f32(half_at(row + 2 * i));
}

void copy_bf16(const std::byte* row, float* out, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i)
    out[i] = bf16_to_f32(half_at(row + 2 * i));
}

/// f16 scale, 32 signed bytes.
void block_q8_0(const std::byte* b, float* out) {
  float d = f16_to_f32(half_at(b));
  for (int i = 0; i < 32; ++i)
    out[i] = d * static_cast<float>(static_cast<int8_t>(byte_at(b + 2 + i)));
}

/// f16 scale, 16 bytes: element i in the low nibble of byte i, element 16 + i in the high one.
void block_q4_0(const std::byte* b, float* out) {
  float d = f16_to_f32(half_at(b));
  for (int i = 0; i < 16; ++i) {
    int q = byte_at(b + 2 + i);
    out[i] = d * static_cast<float>((q & 15) - 8);
    out[16 + i] = d * static_cast<float>((q >> 4) - 8);
  }
}

struct scale_min {
  float scale;
  float min;
};

/// Scale and minimum of sub-block j of 8, six bits each in 12 bytes: the first four whole in the
/// low six bits; of the others the low nibbles in bytes 8..11, the top two bits above the first.
scale_min k_scale(const std::byte* s, int j) {
  if (j < 4)
    return {static_cast<float>(byte_at(s + j) & 63), static_cast<float>(byte_at(s + j + 4) & 63)};
  int low = byte_at(s + j + 4);
  return {static_cast<float>((low & 15) | (byte_at(s + j - 4) >> 6) << 4),
          static_cast<float>((low >> 4) | (byte_at(s + j) >> 6) << 4)};
}

/// f16 d, f16 dmin, 12 bytes of scales, [32 bytes of fifth bits,] 128 bytes of nibbles: 32 bytes
/// hold sub-block 2g in their low nibbles and 2g + 1 in their high ones.
void block_q45_k(const std::byte* b, float* out, const std::byte* fifth, const std::byte* nibbles) {
  float d = f16_to_f32(half_at(b));
  float dmin = f16_to_f32(half_at(b + 2));
  for (int j = 0; j < 8; ++j) {
    auto [scale, min] = k_scale(b + 4, j);
    float step = d * scale;
    float low = dmin * min;
    for (int i = 0; i < 32; ++i) {
      int pair = byte_at(nibbles + j / 2 * 32 + i);
      int q = j % 2 ? pair >> 4 : pair & 15;
      if (fifth)
        q |= ((byte_at(fifth + i) >> j) & 1) << 4;
      out[32 * j + i] = step * static_cast<float>(q) - low;
    }
  }
}

void block_q4_k(const std::byte* b, float* out) {
  block_q45_k(b, out, nullptr, b + 16);
}
void block_q5_k(const std::byte* b, float* out) {
  block_q45_k(b, out, b + 16, b + 48);
}

/// 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales, f16 d. Each half of 128
/// elements takes 64 + 32 bytes; its four runs of 32 use nibbles low, low, high, high.
void block_q6_k(const std::byte* b, float* out) {
  float d = f16_to_f32(half_at(b + 208));
  for (int run = 0; run < 8; ++run) {
    int half = run / 4;
    int part = run % 4;
    const std::byte* low = b + 64 * half + 32 * (part % 2);
    const std::byte* high = b + 128 + 32 * half;
    for (int i = 0; i < 32; ++i) {
      int nibble = part < 2 ? byte_at(low + i) & 15 : byte_at(low + i) >> 4;
      int q = (nibble | ((byte_at(high + i) >> (2 * part)) & 3) << 4) - 32;
      auto scale = static_cast<int8_t>(byte_at(b + 192 + 2 * run + i / 16));
      out[32 * run + i] = d * static_cast<float>(scale) * static_cast<float>(q);
    }
  }
}

template <void (*Block)(const std::byte*, float*)>
void each_block(dtype type, const std::byte* row, float* out, uint64_t n) {
  const auto& geometry = info(type);
  for (uint64_t i = 0; i < n; i += geometry.block_elements, row += geometry.block_bytes)
    Block(row, out + i);
}

} // namespace

float f16_to_f32(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  uint32_t exponent = (bits >> 10) & 31;
  uint32_t fraction = bits & 1023u;
  if (exponent == 31)
    return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent == 0) {
    float tiny = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -tiny : tiny;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t f32_to_f16(float x) {
  auto bits = std::bit_cast<uint32_t>(x);
  auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) // a NaN stays one
    return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) // rounds to 65536 or is more
    return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude >= 0x38800000u) // normal: drop 13 bits of fraction, 112 of exponent bias
    return static_cast<uint16_t>(sign | (round_off(magnitude, 13) - (112u << 10)));
  if (magnitude < 0x33000000u) // under half of the smallest subnormal
    return sign;
  uint32_t fraction = (magnitude & 0x7fffffu) | 0x800000u;
  uint32_t shift = 126 - (magnitude >> 23); // to units of 2^-24
  return static_cast<uint16_t>(sign | round_off(fraction, shift));
}

float bf16_to_f32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

uint16_t f32_to_bf16(float x) {
  auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>(round_off(bits, 16));
}

void dequantise_row(dtype type, const std::byte* row, float* out, uint64_t n) {
  switch (type) {
  case dtype::f32:
    return copy_f32(row, out, n);
  case dtype::f16:
    return copy_f16(row, out, n);
  case dtype::bf16:
    return copy_bf16(row, out, n);
  case dtype::q8_0:
    return each_block<block_q8_0>(type, row, out, n);
  case dtype::q4_0:
    return each_block<block_q4_0>(type, row, out, n);
  case dtype::q4_k:
    return each_block<block_q4_k>(type, row, out, n);
  case dtype::q5_k:
    return each_block<block_q5_k>(type, row, out, n);
  case dtype::q6_k:
    return each_block<block_q6_k>(type, row, out, n);
  }
}

std::vector<float> to_f32(const matrix_view& matrix) {
  std::vector<float> values(matrix.rows * matrix.cols);
  for (uint64_t r = 0; r < matrix.rows; ++r)
    dequantise_row(matrix.type, matrix.row(r), values.data() + r * matrix.cols, matrix.cols);
  return values;
}

} // namespace coel::compute
