#include "common/dtype.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace coel {

namespace {

constexpr std::array<dtype_info, dtype_count> table{{
    {"f32", 1, 4, 0},
    {"f16", 1, 2, 1},
    {"bf16", 1, 2, 30},
    {"q8_0", 32, 34, 8},
    {"q4_0", 32, 18, 2},
    {"q4_k", 256, 144, 12},
    {"q5_k", 256, 176, 13},
    {"q6_k", 256, 210, 14},
}};

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

} // namespace

const dtype_info& info(dtype type) {
  return table[static_cast<size_t>(type)];
}

std::optional<dtype> dtype_from_name(std::string_view name) {
  for (size_t i = 0; i < table.size(); ++i)
    if (equal_ignoring_case(name, table[i].name))
      return static_cast<dtype>(i);
  return std::nullopt;
}

std::optional<dtype> dtype_from_gguf(uint32_t id) {
  for (size_t i = 0; i < table.size(); ++i)
    if (table[i].gguf_id == id)
      return static_cast<dtype>(i);
  return std::nullopt;
}

uint64_t row_bytes(dtype type, uint64_t cols) {
  const auto& t = info(type);
  return cols / t.block_elements * t.block_bytes;
}

} // namespace coel
