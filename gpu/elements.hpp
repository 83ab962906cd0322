// Single values of a row in the formats of GGUF, for look-up: as compute/quant.cpp, bit for bit.
#pragma once

#include "common/dtype.hpp"
#include "gpu/simt.hpp"

namespace coel::gpu {

COEL_DEVICE uint32_t byte_at(const std::byte* p) {
  return static_cast<uint32_t>(*p);
}
COEL_DEVICE uint16_t short_at(const std::byte* p) {
  return static_cast<uint16_t>(byte_at(p) | byte_at(p + 1) << 8);
}
COEL_DEVICE float half_at(const std::byte* p) {
  return simt::half_to_float(short_at(p));
}
COEL_DEVICE float signed_at(const std::byte* p) {
  return static_cast<float>(static_cast<int8_t>(byte_at(p)));
}

COEL_DEVICE float element_q4_0(const std::byte* block, uint32_t i) {
  uint32_t q = byte_at(block + 2 + i % 16) >> (i / 16 * 4) & 15u;
  return half_at(block) * (static_cast<float>(q) - 8.f);
}

COEL_DEVICE float element_k45(const std::byte* block, uint32_t i, bool has_fifths) {
  uint32_t j = i / 32;
  const std::byte* s = block + 4;
  uint32_t scale = byte_at(s + j) & 63u;
  uint32_t min = byte_at(s + j + 4) & 63u;
  if (j >= 4) {
    scale = (byte_at(s + j + 4) & 15u) | byte_at(s + j - 4) >> 6 << 4;
    min = byte_at(s + j + 4) >> 4 | byte_at(s + j) >> 6 << 4;
  }
  const std::byte* nibbles = block + (has_fifths ? 48 : 16);
  uint32_t q = byte_at(nibbles + j / 2 * 32 + i % 32) >> (j % 2 * 4) & 15u;
  if (has_fifths)
    q |= (byte_at(block + 16 + i % 32) >> j & 1u) << 4;
  float step = half_at(block) * static_cast<float>(scale);
  float low = half_at(block + 2) * static_cast<float>(min);
  return step * static_cast<float>(q) - low;
}

COEL_DEVICE float element_q6_k(const std::byte* block, uint32_t i) {
  uint32_t half = i / 128;
  uint32_t part = i / 32 % 4;
  uint32_t low = byte_at(block + 64 * half + 32 * (part % 2) + i % 32) >> (part / 2 * 4) & 15u;
  uint32_t high = byte_at(block + 128 + 32 * half + i % 32) >> (2 * part) & 3u;
  float q = static_cast<float>(low | high << 4) - 32.f;
  return half_at(block + 208) * signed_at(block + 192 + i / 16) * q;
}

/// Element i of a row.
COEL_DEVICE float element(dtype type, const std::byte* row, uint32_t i) {
  switch (type) {
  case dtype::f32:
    return simt::as_float(short_at(row + 4 * uint64_t{i}) |
                          static_cast<uint32_t>(short_at(row + 4 * uint64_t{i} + 2)) << 16);
  case dtype::f16:
    return half_at(row + 2 * uint64_t{i});
  case dtype::bf16:
    return simt::bf16_to_float(short_at(row + 2 * uint64_t{i}));
  case dtype::q8_0:
    return half_at(row + i / 32 * 34) * signed_at(row + i / 32 * 34 + 2 + i % 32);
  case dtype::q4_0:
    return element_q4_0(row + i / 32 * 18, i % 32);
  case dtype::q4_k:
    return element_k45(row + i / 256 * 144, i % 256, false);
  case dtype::q5_k:
    return element_k45(row + i / 256 * 176, i % 256, true);
  case dtype::q6_k:
    return element_q6_k(row + i / 256 * 210, i % 256);
  }
  return 0.f;
}

} // namespace coel::gpu
