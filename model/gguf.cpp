#include "model/gguf.hpp"

#include <cstdio>
#include <cstring>
#include <optional>

namespace coel::model {

namespace {

// Far above any real model, far below what would exhaust memory.
constexpr uint64_t max_tensors = 1 << 20;
constexpr uint64_t max_metadata = 1 << 16;
constexpr uint64_t max_string = 1 << 24;
constexpr uint64_t max_array = 1 << 24;
constexpr uint32_t max_dimensions = 4;

enum class kind : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
constexpr uint32_t kinds = 13;

constexpr uint64_t size_of(kind k) {
  constexpr uint8_t sizes[kinds] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return sizes[static_cast<size_t>(k)];
}

} // namespace

/// Reads one part into a gguf_file. A failed read sets `problem_` and makes all later ones fail.
class gguf_parser {
 public:
  gguf_parser(gguf_file& into, mapped_file_ptr file)
      : into_(into), file_(std::move(file)), bytes_(file_->bytes()) {}

  result<void> parse(bool first) {
    char magic[4] = {};
    copy(magic, 4);
    if (problem_.empty() && std::memcmp(magic, "GGUF", 4) != 0)
      fail("not a GGUF file (it does not begin with 'GGUF')");
    into_.version_ = read<uint32_t>();
    if (problem_.empty() && (into_.version_ < 2 || into_.version_ > 3))
      return {ec::unsupported, where() + "GGUF version " + std::to_string(into_.version_) +
                                   "; this build reads versions 2 and 3"};
    auto tensors = count(max_tensors, 24, "tensors");
    auto pairs = count(max_metadata, 13, "metadata entries");
    for (uint64_t i = 0; i < pairs && problem_.empty(); ++i)
      read_pair(first);
    std::vector<std::pair<std::string, gguf_tensor>> infos;
    std::vector<uint64_t> offsets;
    for (uint64_t i = 0; i < tensors && problem_.empty(); ++i)
      read_info(infos, offsets);
    if (problem_.empty())
      place(infos, offsets);
    if (!unsupported_.empty())
      return {ec::unsupported, where() + unsupported_};
    if (!problem_.empty())
      return {ec::bad_file, where() + problem_};
    return {};
  }

 private:
  std::string where() const { return file_->path().string() + ": "; }
  void fail(std::string why) {
    if (problem_.empty())
      problem_ = std::move(why);
  }
  uint64_t left() const { return bytes_.size() - at_; }

  void copy(void* to, uint64_t n) {
    if (!problem_.empty() || n > left())
      return fail("the file ends inside its header (truncated?)");
    std::memcpy(to, bytes_.data() + at_, n);
    at_ += n;
  }
  template <class T>
  T read() {
    T x{};
    copy(&x, sizeof x);
    return x;
  }
  /// A count whose items take at least `least` bytes each, so that it cannot exceed the file.
  uint64_t count(uint64_t most, uint64_t least, const char* what) {
    auto n = read<uint64_t>();
    if (problem_.empty() && (n > most || n > left() / least))
      fail("claims " + std::to_string(n) + " " + what + ", more than the file can hold");
    return problem_.empty() ? n : 0;
  }
  std::string read_string() {
    auto n = read<uint64_t>();
    if (problem_.empty() && (n > max_string || n > left()))
      fail("a string of " + std::to_string(n) + " bytes does not fit in the file");
    if (!problem_.empty())
      return {};
    std::string s(reinterpret_cast<const char*>(bytes_.data() + at_), n);
    at_ += n;
    return s;
  }

  gguf_value read_scalar(kind k) {
    switch (k) {
      case kind::u8: return uint64_t{read<uint8_t>()};
      case kind::u16: return uint64_t{read<uint16_t>()};
      case kind::u32: return uint64_t{read<uint32_t>()};
      case kind::u64: return read<uint64_t>();
      case kind::i8: return int64_t{read<int8_t>()};
      case kind::i16: return int64_t{read<int16_t>()};
      case kind::i32: return int64_t{read<int32_t>()};
      case kind::i64: return read<int64_t>();
      case kind::f32: return double{read<float>()};
      case kind::f64: return read<double>();
      case kind::boolean: return read<uint8_t>() != 0;
      default: return read_string();
    }
  }

  kind read_kind() {
    auto k = read<uint32_t>();
    if (k >= kinds)
      fail("metadata of unknown kind " + std::to_string(k));
    return static_cast<kind>(problem_.empty() ? k : 0);
  }

  gguf_value read_array() {
    auto k = read_kind();
    if (k == kind::array)
      fail("nested metadata arrays are not supported");
    auto n = count(max_array, k == kind::string ? 8 : std::max<uint64_t>(size_of(k), 1), "array items");
    if (k == kind::string) {
      std::vector<std::string> texts;
      texts.reserve(n);
      for (uint64_t i = 0; i < n && problem_.empty(); ++i)
        texts.push_back(read_string());
      return texts;
    }
    if (k == kind::f32 || k == kind::f64) {
      std::vector<double> reals(n);
      for (auto& x : reals)
        x = std::get<double>(read_scalar(k));
      return reals;
    }
    std::vector<int64_t> numbers(n);
    for (auto& x : numbers)
      x = std::visit(
          [](const auto& v) -> int64_t {
            if constexpr (std::is_arithmetic_v<std::decay_t<decltype(v)>>)
              return static_cast<int64_t>(v);
            return 0;
          },
          read_scalar(k));
    return numbers;
  }

  void read_pair(bool keep) {
    auto key = read_string();
    auto k = read_kind();
    auto value = k == kind::array ? read_array() : read_scalar(k);
    if (!problem_.empty())
      return;
    if (key == "general.alignment") {
      auto* n = std::get_if<uint64_t>(&value);
      if (!n || *n == 0 || *n > 1 << 20 || (*n & (*n - 1)))
        return fail("general.alignment is not a power of two");
      alignment_ = *n;
    }
    if (keep && !into_.metadata_.emplace(key, std::move(value)).second)
      fail("metadata key '" + key + "' appears twice");
  }

  void read_info(std::vector<std::pair<std::string, gguf_tensor>>& infos, std::vector<uint64_t>& offsets) {
    auto name = read_string();
    auto dimensions = read<uint32_t>();
    if (problem_.empty() && (dimensions == 0 || dimensions > max_dimensions))
      return fail("tensor '" + name + "' has " + std::to_string(dimensions) + " dimensions");
    gguf_tensor t;
    for (uint32_t i = 0; i < dimensions && problem_.empty(); ++i)
      t.shape.push_back(read<uint64_t>());
    auto type = read<uint32_t>();
    auto offset = read<uint64_t>();
    if (!problem_.empty())
      return;
    auto known = dtype_from_gguf(type);
    if (!known) {
      unsupported_ = "tensor '" + name + "' has ggml type " + std::to_string(type) +
                     ", which this build does not read (it reads f32, f16, bf16, q8_0, q4_0, q4_k, q5_k, q6_k)";
      return fail(unsupported_);
    }
    t.type = *known;
    infos.emplace_back(std::move(name), std::move(t));
    offsets.push_back(offset);
  }

  /// Points each tensor at its bytes once the header's end, hence the data's start, is known.
  void place(std::vector<std::pair<std::string, gguf_tensor>>& infos, const std::vector<uint64_t>& offsets) {
    uint64_t base = (at_ + alignment_ - 1) / alignment_ * alignment_;
    for (size_t i = 0; i < infos.size(); ++i) {
      auto& [name, t] = infos[i];
      uint64_t rows = 1, cols = t.shape[0], elements = cols;
      for (size_t d = 1; d < t.shape.size(); ++d)
        if (__builtin_mul_overflow(rows, t.shape[d], &rows))
          return fail("the shape of tensor '" + name + "' overflows");
      if (__builtin_mul_overflow(elements, rows, &elements) || elements == 0 || elements > UINT64_MAX / 4)
        return fail("the shape of tensor '" + name + "' is empty or overflows");
      if (cols % info(t.type).block_elements)
        return fail("the rows of tensor '" + name + "' do not divide into blocks of " +
                    std::string(to_string(t.type)));
      uint64_t stride = row_bytes(t.type, cols), size = stride * rows, begin = 0, end = 0;
      if (offsets[i] % alignment_ || __builtin_add_overflow(base, offsets[i], &begin) ||
          __builtin_add_overflow(begin, size, &end) || end > bytes_.size())
        return fail("the data of tensor '" + name + "' lies outside the file (truncated?)");
      t.data = {t.type, rows, cols, bytes_.data() + begin, stride, file_};
      t.file = file_;
      if (!into_.tensors_.emplace(name, std::move(t)).second)
        return fail("tensor '" + name + "' appears twice");
    }
  }

  gguf_file& into_;
  mapped_file_ptr file_;
  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
  uint64_t alignment_ = 32;
  std::string problem_;
  std::string unsupported_;
};

namespace {

/// "x-00002-of-00003.gguf" -> stem "x"; nullopt if the name is not of that form.
std::optional<std::string> split_stem(const std::string& name) {
  constexpr size_t tail = sizeof("-00001-of-00003.gguf") - 1;
  unsigned part = 0, parts = 0;
  if (name.size() <= tail ||
      std::sscanf(name.c_str() + name.size() - tail, "-%5u-of-%5u.gguf", &part, &parts) != 2)
    return std::nullopt;
  return name.substr(0, name.size() - tail);
}

std::string part_name(const std::string& stem, uint64_t part, uint64_t parts) {
  char tail[40];
  std::snprintf(tail, sizeof tail, "-%05u-of-%05u.gguf", static_cast<unsigned>(part),
                static_cast<unsigned>(parts));
  return stem + tail;
}

} // namespace

result<gguf_file> gguf_file::open(const std::filesystem::path& path) {
  gguf_file opened;
  auto add = [&](const std::filesystem::path& part, bool first) -> result<void> {
    auto file = mapped_file::open(part);
    if (!file)
      return file.err();
    opened.files_.push_back(*file);
    return gguf_parser(opened, *file).parse(first);
  };
  if (auto ok = add(path, true); !ok)
    return ok.err();
  auto parts = opened.number("split.count").value_or(1);
  if (parts <= 1)
    return opened;
  auto stem = split_stem(path.filename().string());
  if (!stem || parts > 1000)
    return {ec::bad_file, path.string() + ": a part of " + std::to_string(parts) +
                              " whose name is not NAME-00001-of-0000N.gguf"};
  opened = {};
  for (uint64_t part = 1; part <= parts; ++part)
    if (auto ok = add(path.parent_path() / part_name(*stem, part, parts), part == 1); !ok)
      return ok.err();
  if (auto total = opened.number("split.tensors.count"); total && *total != opened.tensors_.size())
    return {ec::bad_file, path.string() + ": the parts hold " + std::to_string(opened.tensors_.size()) +
                              " tensors, the first one says " + std::to_string(*total)};
  return opened;
}

const gguf_value* gguf_file::find(std::string_view key) const {
  auto i = metadata_.find(key);
  return i == metadata_.end() ? nullptr : &i->second;
}

const std::string* gguf_file::text(std::string_view key) const {
  auto* v = find(key);
  return v ? std::get_if<std::string>(v) : nullptr;
}

std::optional<uint64_t> gguf_file::number(std::string_view key) const {
  auto* v = find(key);
  if (auto* u = v ? std::get_if<uint64_t>(v) : nullptr)
    return *u;
  if (auto* i = v ? std::get_if<int64_t>(v) : nullptr; i && *i >= 0)
    return static_cast<uint64_t>(*i);
  return std::nullopt;
}

std::optional<double> gguf_file::real(std::string_view key) const {
  auto* v = find(key);
  if (auto* d = v ? std::get_if<double>(v) : nullptr)
    return *d;
  return std::nullopt;
}

std::optional<bool> gguf_file::flag(std::string_view key) const {
  auto* v = find(key);
  if (auto* b = v ? std::get_if<bool>(v) : nullptr)
    return *b;
  return std::nullopt;
}

const gguf_tensor* gguf_file::tensor(std::string_view name) const {
  auto i = tensors_.find(name);
  return i == tensors_.end() ? nullptr : &i->second;
}

} // namespace coel::model
