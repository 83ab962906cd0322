#include "net/link_activations.hpp"

#include "common/half.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace coel::net {

namespace {

constexpr uint32_t infinity_bits = 0x7f800000u;
constexpr float int8_max = 127.0f;

// Largest magnitude by its bits, by which infinities and NaN are above every number.
uint32_t largest_bits(std::span<const float> values) {
  uint32_t largest = 0;
  for (float value : values)
    largest = std::max(largest, std::bit_cast<uint32_t>(value) & 0x7fffffffu);
  return largest;
}

bool all_finite_halves(const std::byte* halves, size_t count) {
  uint16_t largest = 0;
  for (size_t i = 0; i < count; ++i) {
    uint16_t half = 0;
    std::memcpy(&half, halves + 2 * i, sizeof half);
    largest = std::max(largest, static_cast<uint16_t>(half & 0x7fffu));
  }
  return largest < 0x7c00u;
}

uint32_t groups_of(uint32_t hidden) {
  return (hidden + int8_group - 1) / int8_group;
}

// The scale of a group; its codes go to `codes`. What is not finite makes the scale so, and the
// receiver refuses it.
float write_group(std::span<const float> values, std::byte* codes) {
  uint32_t largest = largest_bits(values);
  float scale = std::bit_cast<float>(largest) / int8_max;
  bool usable = largest < infinity_bits && scale >= std::numeric_limits<float>::min();
  float factor = usable ? 1.0f / scale : 0.0f;
  if (!usable)
    std::memset(codes, 0, values.size());
  else
    for (size_t i = 0; i < values.size(); ++i) // away from zero at a half; vectorised
      codes[i] = static_cast<std::byte>(
          static_cast<int8_t>(values[i] * factor + std::copysign(0.5f, values[i])));
  return usable || largest >= infinity_bits ? scale : 0.0f;
}

void write_int8(std::span<const float> values, uint32_t hidden, std::byte* out) {
  size_t rows = values.size() / hidden;
  std::byte* codes = out + rows * groups_of(hidden) * sizeof(float);
  for (size_t row = 0; row < rows; ++row)
    for (uint32_t from = 0; from < hidden; from += int8_group) {
      uint32_t length = std::min(int8_group, hidden - from);
      size_t at = row * hidden + from;
      float scale = write_group(values.subspan(at, length), codes + at);
      std::memcpy(out, &scale, sizeof scale);
      out += sizeof scale;
    }
}

void read_int8(const std::byte* in, uint32_t rows, uint32_t hidden, float* out) {
  const std::byte* codes = in + size_t{rows} * groups_of(hidden) * sizeof(float);
  for (uint32_t row = 0; row < rows; ++row)
    for (uint32_t from = 0; from < hidden; from += int8_group) {
      float scale = 0;
      std::memcpy(&scale, in, sizeof scale);
      in += sizeof scale;
      uint32_t length = std::min(int8_group, hidden - from);
      for (uint32_t i = 0; i < length; ++i)
        *out++ = scale * static_cast<float>(static_cast<int8_t>(*codes++));
    }
}

} // namespace

bool all_finite(std::span<const float> values) {
  return largest_bits(values) < infinity_bits;
}

uint64_t activation_bytes(wire_type wire, uint32_t rows, uint32_t hidden) {
  uint64_t values = uint64_t{rows} * hidden;
  switch (wire) {
  case wire_type::f32:
    return values * sizeof(float);
  case wire_type::f16:
    return values * 2;
  case wire_type::int8:
    return values + uint64_t{rows} * groups_of(hidden) * sizeof(float);
  }
  return 0;
}

bool write_activations(wire_type wire, std::span<const float> values, uint32_t hidden,
                       std::byte* out) {
  switch (wire) {
  case wire_type::f32:
    std::memcpy(out, values.data(), values.size_bytes());
    return true;
  case wire_type::f16:
    to_half(values, out);
    return all_finite_halves(out, values.size());
  case wire_type::int8:
    write_int8(values, hidden, out);
    return true;
  }
  return false;
}

result<std::vector<float>> read_activations(wire_type wire, uint32_t rows, uint32_t hidden,
                                            std::span<const std::byte> bytes) {
  std::vector<float> values(size_t{rows} * hidden);
  switch (wire) {
  case wire_type::f32:
    std::memcpy(values.data(), bytes.data(), bytes.size());
    break;
  case wire_type::f16:
    from_half(bytes.data(), values);
    break;
  case wire_type::int8:
    read_int8(bytes.data(), rows, hidden, values.data());
    break;
  }
  if (!all_finite(values))
    return {ec::bad_argument, "the frame holds an activation that is not a finite number"};
  return values;
}

} // namespace coel::net
