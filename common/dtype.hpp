// Element types of weights, with the block geometry of the GGUF formats that carry them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace coel {

/// Storage type of a weight matrix. Quantised types store rows in blocks along the columns.
enum class dtype : uint8_t { f32, f16, bf16, q8_0, q4_0, q4_k, q5_k, q6_k };

inline constexpr size_t dtype_count = 8;

struct dtype_info {
  std::string_view name;   ///< as users write it: "q4_0"
  uint32_t block_elements; ///< elements of one block; 1 for float types
  uint32_t block_bytes;    ///< bytes of one block
  uint32_t gguf_id;        ///< ggml type number in a GGUF file
};

const dtype_info& info(dtype type);

/// Type by user's name in either case ("Q4_K", "bf16"); nullopt if unknown.
std::optional<dtype> dtype_from_name(std::string_view name);

/// Type by GGUF number; nullopt if this build does not know it.
std::optional<dtype> dtype_from_gguf(uint32_t id);

/// Bytes of a row of `cols` elements; cols must be a multiple of the block length.
constexpr bool is_quantised(dtype type) {
  return type >= dtype::q8_0;
}

uint64_t row_bytes(dtype type, uint64_t cols);

inline std::string_view to_string(dtype type) {
  return info(type).name;
}

} // namespace coel
