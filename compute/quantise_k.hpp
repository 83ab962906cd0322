// Encoders of the k-quant formats (super-blocks of 256): what quantise_row calls. Internal.
#pragma once

#include <cstddef>

namespace coel::compute {

inline constexpr int k_block = 256; ///< elements of a super-block

/// Largest magnitude that the formats' f16 scales can carry for certain; larger values saturate.
inline constexpr float k_limit = 0x1p26f;

/// x[0..256), finite and within k_limit, into one block as dequantise_row reads it.
void encode_q4_k(const float* x, std::byte* block);
void encode_q5_k(const float* x, std::byte* block);
void encode_q6_k(const float* x, std::byte* block);

} // namespace coel::compute
