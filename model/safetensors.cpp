#include "model/safetensors.hpp"

#include "model/json.hpp"
#include "model/quoted.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

namespace coel::model {

namespace {

using nlohmann::json;

// A tensor takes about 100 bytes of header; the largest models have shards of some thousands.
constexpr uint64_t max_header = 32 << 20;
constexpr size_t max_dimensions = 8;

/// [begin, end) of a tensor's bytes, from the beginning of the data.
struct extent {
  uint64_t begin = 0;
  uint64_t end = 0;
  std::string name;
};

std::optional<dtype> type_of(const std::string& name) {
  if (name == "F32")
    return dtype::f32;
  if (name == "F16")
    return dtype::f16;
  if (name == "BF16")
    return dtype::bf16;
  return std::nullopt;
}

/// nullopt unless it is a list of at most `most` non-negative integers.
std::optional<std::vector<uint64_t>> integers(const json& entry, const char* key, size_t most) {
  auto list = entry.find(key);
  if (list == entry.end() || !list->is_array() || list->size() > most)
    return std::nullopt;
  std::vector<uint64_t> values;
  for (const auto& item : *list) {
    if (!item.is_number_unsigned())
      return std::nullopt;
    values.push_back(item.get<uint64_t>());
  }
  return values;
}

/// The JSON header; `data` becomes what follows it.
result<json> read_header(const mapped_file& file, std::span<const std::byte>& data) {
  auto bytes = file.bytes();
  auto path = file.path().string();
  uint64_t length = 0;
  if (bytes.size() < sizeof length)
    return {ec::bad_file, path + ": too short for a safetensors file"};
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > max_header || length > bytes.size() - sizeof length)
    return {ec::bad_file, path + ": claims a header of " + std::to_string(length) +
                              " bytes (not a safetensors file, or truncated?)"};
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + sizeof length;
  auto header = parse_json({text, length}, path);
  if (header && !header->is_object())
    return {ec::bad_file, path + ": the header is not a JSON object"};
  data = bytes.subspan(sizeof length + length);
  return header;
}

/// The bytes that an entry claims, inside the data.
result<extent> extent_of(const json& entry, std::span<const std::byte> data) {
  auto range = integers(entry, "data_offsets", 2);
  if (!range || range->size() != 2)
    return {ec::bad_file, "data_offsets is missing or malformed"};
  auto [begin, end] = std::pair((*range)[0], (*range)[1]);
  if (begin > end || end > data.size())
    return {ec::bad_file, "the data lies outside the file (truncated?)"};
  return extent{begin, end, {}};
}

result<compute::matrix_view> view_of(const json& entry, dtype type, const extent& at) {
  auto shape = integers(entry, "shape", max_dimensions);
  if (!shape)
    return {ec::bad_file, "the shape is missing or malformed"};
  uint64_t rows = 1, cols = shape->empty() ? 1 : shape->back(), size = 0;
  bool fits = true;
  for (size_t d = 0; d + 1 < shape->size(); ++d)
    fits = fits && !__builtin_mul_overflow(rows, (*shape)[d], &rows);
  fits = fits && !__builtin_mul_overflow(rows, cols, &size) &&
         !__builtin_mul_overflow(size, uint64_t{info(type).block_bytes}, &size);
  if (!fits || size == 0)
    return {ec::bad_file, "the shape is empty or overflows"};
  if (at.end - at.begin != size)
    return {ec::bad_file, "the data is " + std::to_string(at.end - at.begin) +
                              " bytes, the shape needs " + std::to_string(size)};
  return compute::matrix_view{type, rows, cols, nullptr, row_bytes(type, cols), nullptr};
}

/// Adds one entry of the header.
result<extent> read_entry(const std::string& name, const json& entry,
                          std::span<const std::byte> data, const mapped_file_ptr& file,
                          tensor_map& into) {
  auto type = entry.is_object() ? entry.find("dtype") : entry.end();
  if (type == entry.end() || !type->is_string())
    return {ec::bad_file, "the dtype is missing or malformed"};
  auto at = extent_of(entry, data);
  if (!at)
    return at;
  at->name = name;
  auto type_name = type->get<std::string>();
  auto known = type_of(type_name);
  if (!known) {
    into.of_other_types.emplace(name, type_name);
    return at;
  }
  auto view = view_of(entry, *known, *at);
  if (!view)
    return view.err();
  view->data = data.data() + at->begin;
  view->owner = file;
  if (!into.tensors.emplace(name, std::move(*view)).second)
    return {ec::bad_file, "another file of the model has it too"};
  return at;
}

result<void> refuse_overlaps(std::vector<extent>& extents) {
  std::sort(extents.begin(), extents.end(),
            [](const extent& a, const extent& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < extents.size(); ++i)
    if (extents[i].begin < extents[i - 1].end)
      return {ec::bad_file, "the data of tensors " + in_quotes(extents[i - 1].name) + " and " +
                                in_quotes(extents[i].name) + " overlap"};
  return {};
}

} // namespace

result<void> read_safetensors(const mapped_file_ptr& file, tensor_map& into) {
  std::span<const std::byte> data;
  auto header = read_header(*file, data);
  if (!header)
    return header.err();
  auto path = file->path().string();
  std::vector<extent> extents;
  for (const auto& [name, entry] : header->items()) {
    if (name == "__metadata__")
      continue;
    auto at = read_entry(name, entry, data, file, into);
    if (!at)
      return {ec::bad_file, path + ": tensor " + in_quotes(name) + ": " + at.err().message};
    extents.push_back(std::move(*at));
  }
  if (auto ok = refuse_overlaps(extents); !ok)
    return {ec::bad_file, path + ": " + ok.err().message};
  return {};
}

} // namespace coel::model
