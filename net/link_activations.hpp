// Rows of activations in a message: f32, f16, or int8 in groups of 64 along the row.
#pragma once

#include "net/link_frames.hpp"

namespace coel::net {

inline constexpr uint32_t int8_group = 64;

/// Bytes of `rows` rows of `hidden` values each. int8: first the scales [rows, groups] as f32, then
/// the values [rows, hidden].
uint64_t activation_bytes(wire_type wire, uint32_t rows, uint32_t hidden);

/// Writes activation_bytes(...) bytes. False if a value does not fit the type: f16 ends at 65504.
bool write_activations(wire_type wire, std::span<const float> values, uint32_t hidden,
                       std::byte* out);

/// `bytes` are activation_bytes(...) of them. Errors: bad_argument (a value that is not
/// finite).
result<std::vector<float>> read_activations(wire_type wire, uint32_t rows, uint32_t hidden,
                                            std::span<const std::byte> bytes);

} // namespace coel::net
