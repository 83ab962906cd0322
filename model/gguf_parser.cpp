#include "model/gguf_parser.hpp"

#include "model/quoted.hpp"

#include <algorithm>
#include <cstring>

namespace coel::model {

namespace {

// Far above any real model, far below what would exhaust memory.
constexpr uint64_t max_tensors = 1 << 20;
constexpr uint64_t max_metadata = 1 << 16;
constexpr uint64_t max_string = 1 << 24;
constexpr uint64_t max_alignment = 1 << 20;
constexpr uint32_t max_dimensions = 4;

enum kind : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
constexpr uint32_t kinds = 13;

/// Least bytes that a value of a kind takes; a string is at least its length.
constexpr uint64_t size_of(uint32_t k) {
  constexpr uint8_t sizes[kinds] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
  return sizes[k];
}

/// ggml's names of the types that CoEL does not run, for messages.
std::string type_name(uint32_t id) {
  struct named {
    uint32_t id;
    const char* name;
  };
  constexpr named others[] = {{3, "Q4_1"},    {6, "Q5_0"},     {7, "Q5_1"},    {9, "Q8_1"},
                              {10, "Q2_K"},   {11, "Q3_K"},    {15, "Q8_K"},   {16, "IQ2_XXS"},
                              {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},  {20, "IQ4_NL"},
                              {21, "IQ3_S"},  {22, "IQ2_S"},   {23, "IQ4_XS"}, {24, "I8"},
                              {25, "I16"},    {26, "I32"},     {27, "I64"},    {28, "F64"},
                              {29, "IQ1_M"},  {34, "TQ1_0"},   {35, "TQ2_0"},  {39, "MXFP4"}};
  for (const auto& t : others)
    if (t.id == id)
      return t.name;
  return "number " + std::to_string(id);
}

std::string known_types() {
  std::string list;
  for (size_t i = 0; i < dtype_count; ++i)
    list += (i ? ", " : "") + std::string(to_string(static_cast<dtype>(i)));
  return list;
}

int64_t as_integer(const gguf_value& value) {
  return std::visit(
      [](const auto& v) -> int64_t {
        if constexpr (std::is_integral_v<std::decay_t<decltype(v)>>)
          return static_cast<int64_t>(v);
        return 0;
      },
      value);
}

} // namespace

gguf_parser::gguf_parser(gguf_file& into, mapped_file_ptr file)
    : into_(into), file_(std::move(file)), bytes_(file_->bytes()) {}

result<void> gguf_parser::parse() {
  read_header();
  for (uint64_t i = 0; i < pairs_ && !failed(); ++i)
    read_pair();
  std::vector<tensor_info> infos;
  for (uint64_t i = 0; i < tensors_ && !failed(); ++i)
    infos.push_back(read_info());
  if (!failed())
    place(infos);
  if (failed())
    return {failure_.code, file_->path().string() + ": " + failure_.message};
  return {};
}

void gguf_parser::fail(std::string why, ec code) {
  if (!failed())
    failure_ = {code, std::move(why)};
}

void gguf_parser::copy(void* to, uint64_t n) {
  if (failed() || n > left())
    return fail("the file ends inside its header (truncated?)");
  std::memcpy(to, bytes_.data() + at_, n);
  at_ += n;
}

/// A count whose items take at least `least_bytes` each, so that it cannot exceed the file.
uint64_t gguf_parser::count(uint64_t most, uint64_t least_bytes, const char* what) {
  auto n = read<uint64_t>();
  if (n > most || n > left() / least_bytes)
    fail("claims " + std::to_string(n) + " " + what +
         ", more than the file can hold or a model needs");
  return failed() ? 0 : n;
}

std::string gguf_parser::read_string() {
  auto n = read<uint64_t>();
  if (n > max_string || n > left())
    fail("a string of " + std::to_string(n) + " bytes does not fit in the file");
  if (failed())
    return {};
  std::string s(reinterpret_cast<const char*>(bytes_.data() + at_), n);
  at_ += n;
  return s;
}

void gguf_parser::read_header() {
  char magic[4] = {};
  copy(magic, sizeof magic);
  if (!failed() && std::memcmp(magic, "GGUF", sizeof magic) != 0)
    fail("not a GGUF file (it does not begin with 'GGUF')");
  into_.version_ = read<uint32_t>();
  if (!failed() && into_.version_ != 2 && into_.version_ != 3)
    fail("GGUF version " + std::to_string(into_.version_) +
             "; this build reads versions 2 and 3, little-endian",
         ec::unsupported);
  tensors_ = count(max_tensors, 24, "tensors");
  pairs_ = count(max_metadata, 13, "metadata entries");
}

gguf_value gguf_parser::read_scalar(uint32_t k) {
  switch (k) {
  case u8:
    return uint64_t{read<uint8_t>()};
  case u16:
    return uint64_t{read<uint16_t>()};
  case u32:
    return uint64_t{read<uint32_t>()};
  case u64:
    return read<uint64_t>();
  case i8:
    return int64_t{read<int8_t>()};
  case i16:
    return int64_t{read<int16_t>()};
  case i32:
    return int64_t{read<int32_t>()};
  case i64:
    return read<int64_t>();
  case f32:
    return double{read<float>()};
  case f64:
    return read<double>();
  case boolean:
    return read<uint8_t>() != 0;
  case string:
    return read_string();
  default:
    fail("metadata of unknown kind " + std::to_string(k));
    return false;
  }
}

gguf_value gguf_parser::read_array() {
  auto k = read<uint32_t>();
  if (k >= kinds || k == array) {
    fail(k == array ? "nested metadata arrays are not supported"
                    : "metadata array of unknown kind " + std::to_string(k));
    return false;
  }
  auto n = count(items_left_, size_of(k), "array items");
  items_left_ -= n;
  if (k == string) {
    std::vector<std::string> texts;
    texts.reserve(n);
    for (uint64_t i = 0; i < n && !failed(); ++i)
      texts.push_back(read_string());
    return texts;
  }
  if (k == f32 || k == f64) {
    std::vector<double> reals(n);
    for (auto& x : reals)
      x = std::get<double>(read_scalar(k));
    return reals;
  }
  std::vector<int64_t> numbers(n);
  for (auto& x : numbers)
    x = as_integer(read_scalar(k));
  return numbers;
}

void gguf_parser::read_pair() {
  auto key = read_string();
  auto k = read<uint32_t>();
  auto value = k == array ? read_array() : read_scalar(k);
  if (failed())
    return;
  if (key == "general.alignment")
    set_alignment(value);
  if (auto [at, added] = into_.metadata_.emplace(std::move(key), std::move(value)); !added)
    fail("metadata key " + in_quotes(at->first) + " appears twice");
}

/// At least 8, as the format demands: elements are read in place.
void gguf_parser::set_alignment(const gguf_value& value) {
  const auto* n = std::get_if<uint64_t>(&value);
  if (!n || *n < 8 || *n > max_alignment || (*n & (*n - 1)))
    return fail("general.alignment is not a power of two between 8 and " +
                std::to_string(max_alignment));
  alignment_ = *n;
}

gguf_parser::tensor_info gguf_parser::read_info() {
  tensor_info t;
  t.name = read_string();
  auto dimensions = read<uint32_t>();
  if (!failed() && (dimensions == 0 || dimensions > max_dimensions))
    fail("tensor " + in_quotes(t.name) + " has " + std::to_string(dimensions) + " dimensions");
  for (uint32_t i = 0; i < dimensions && !failed(); ++i)
    t.tensor.shape.push_back(read<uint64_t>());
  auto id = read<uint32_t>();
  t.offset = read<uint64_t>();
  if (failed())
    return t;
  auto type = dtype_from_gguf(id);
  if (!type)
    fail("tensor " + in_quotes(t.name) + " is of type " + type_name(id) + "; this build reads " +
             known_types(),
         ec::unsupported);
  t.tensor.type = type.value_or(dtype::f32);
  return t;
}

/// Points each tensor at its bytes once the header's end, hence the data's start, is known.
void gguf_parser::place(std::vector<tensor_info>& infos) {
  uint64_t base = (at_ + alignment_ - 1) / alignment_ * alignment_;
  std::vector<extent> extents;
  for (auto& info : infos) {
    auto where = locate(info, base);
    if (failed())
      return;
    auto [at, added] = into_.tensors_.emplace(std::move(info.name), std::move(info.tensor));
    if (!added)
      return fail("tensor " + in_quotes(at->first) + " appears twice");
    where.name = &at->first;
    extents.push_back(where);
  }
  refuse_overlaps(std::move(extents));
}

gguf_parser::extent gguf_parser::locate(tensor_info& t, uint64_t base) {
  const auto& shape = t.tensor.shape;
  auto type = t.tensor.type;
  uint64_t cols = shape[0], rows = 1, size = 0;
  bool fits = cols % info(type).block_elements == 0;
  if (!fits)
    fail("the rows of tensor " + in_quotes(t.name) + ", " + std::to_string(cols) +
         " elements, do not divide into blocks of " + std::string(to_string(type)));
  for (size_t d = 1; d < shape.size(); ++d)
    fits = fits && !__builtin_mul_overflow(rows, shape[d], &rows);
  // No element is wider than 4 bytes, so that row_bytes cannot overflow below this bound.
  fits = fits && cols > 0 && rows > 0 && cols <= UINT64_MAX / 4 &&
         !__builtin_mul_overflow(row_bytes(type, cols), rows, &size);
  if (!fits) {
    fail("the shape of tensor " + in_quotes(t.name) + " is empty or overflows");
    return {};
  }
  extent e;
  if (t.offset % alignment_ || __builtin_add_overflow(base, t.offset, &e.begin) ||
      __builtin_add_overflow(e.begin, size, &e.end) || e.end > bytes_.size())
    fail("the data of tensor " + in_quotes(t.name) +
         " is misaligned or lies outside the file (truncated?)");
  else
    t.tensor.data = {type, rows, cols, bytes_.data() + e.begin, row_bytes(type, cols), file_};
  t.tensor.file = file_;
  return e;
}

void gguf_parser::refuse_overlaps(std::vector<extent> extents) {
  std::sort(extents.begin(), extents.end(),
            [](const extent& a, const extent& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < extents.size(); ++i)
    if (extents[i].begin < extents[i - 1].end)
      return fail("the data of tensors " + in_quotes(*extents[i - 1].name) + " and " +
                  in_quotes(*extents[i].name) + " overlap");
}

} // namespace coel::model
