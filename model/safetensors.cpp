#include "model/safetensors.hpp"

#include "model/json.hpp"

#include <cstring>
#include <optional>

namespace coel::model {

namespace {

constexpr uint64_t max_header = 100'000'000;   // the format's own limit

std::optional<dtype> type_of(const std::string& name) {
  if (name == "F32") return dtype::f32;
  if (name == "F16") return dtype::f16;
  if (name == "BF16") return dtype::bf16;
  return std::nullopt;
}

/// One header entry; nullopt for types that are left out.
result<std::optional<compute::matrix_view>> view_of(const nlohmann::json& entry,
                                                    std::span<const std::byte> data) {
  auto type = type_of(entry.at("dtype").get<std::string>());
  if (!type)
    return std::optional<compute::matrix_view>{};
  auto shape = entry.at("shape").get<std::vector<uint64_t>>();
  auto range = entry.at("data_offsets").get<std::vector<uint64_t>>();
  uint64_t rows = 1, cols = shape.empty() ? 1 : shape.back(), size = 0;
  for (size_t d = 0; d + 1 < shape.size(); ++d)
    if (__builtin_mul_overflow(rows, shape[d], &rows))
      return {ec::bad_file, "the shape overflows"};
  if (__builtin_mul_overflow(rows, cols, &size) || size == 0 ||
      __builtin_mul_overflow(size, uint64_t{info(*type).block_bytes}, &size))
    return {ec::bad_file, "the shape is empty or overflows"};
  if (range.size() != 2 || range[0] > range[1] || range[1] > data.size() || range[1] - range[0] != size)
    return {ec::bad_file, "the data lies outside the file or has another size than the shape"};
  return std::optional(compute::matrix_view{*type, rows, cols, data.data() + range[0],
                                            row_bytes(*type, cols), nullptr});
}

} // namespace

result<void> read_safetensors(const mapped_file_ptr& file, tensor_map& into) {
  auto bytes = file->bytes();
  auto path = file->path().string();
  uint64_t length = 0;
  if (bytes.size() < sizeof length)
    return {ec::bad_file, path + ": too short for a safetensors file"};
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > max_header || length > bytes.size() - sizeof length)
    return {ec::bad_file, path + ": the header's length is larger than the file"};
  auto header = parse_json({reinterpret_cast<const char*>(bytes.data()) + sizeof length, length}, path);
  if (!header)
    return header.err();
  if (!header->is_object())
    return {ec::bad_file, path + ": the header is not a JSON object"};
  auto data = bytes.subspan(sizeof length + length);
  for (const auto& [name, entry] : header->items()) {
    if (name == "__metadata__")
      continue;
    try {
      auto view = view_of(entry, data);
      if (!view)
        return {ec::bad_file, path + ": tensor '" + name + "': " + view.err().message};
      if (!*view)
        continue;
      (*view)->owner = file;
      if (!into.emplace(name, **view).second)
        return {ec::bad_file, path + ": tensor '" + name + "' appears twice in the model"};
    } catch (const std::exception& e) {
      return {ec::bad_file, path + ": tensor '" + name + "': " + e.what()};
    }
  }
  return {};
}

} // namespace coel::model
