#include "model/mirror_header.hpp"

#include <algorithm>
#include <cstring>

namespace coel::model {

namespace {

/// Walks over a file from its beginning. Stops for good at a chunk that is not here, at the file's
/// end, and at what cannot be a header.
class walker {
 public:
  walker(const mirror& from, uint32_t file)
      : from_(from), file_(file), size_(from.description().files()[file].size) {}

  bool stopped() const { return stopped_; }
  void stop() { stopped_ = true; }
  uint64_t left() const { return size_ - at_; }
  const result<void>& outcome() const { return outcome_; }

  template <class T>
  T number() {
    T x{};
    read(&x, sizeof x);
    return x;
  }

  void read(void* to, uint64_t n) {
    auto* out = static_cast<std::byte*>(to);
    while (n > 0 && !stopped_) {
      if (at_ == size_ || !fill())
        return stop();
      auto within = at_ - window_begin_;
      auto part = std::min<uint64_t>(n, window_.size() - within);
      std::memcpy(out, window_.data() + within, part);
      out += part;
      n -= part;
      at_ += part;
    }
  }

  /// What is stepped over need not be here: only its length matters to the walk.
  void skip(uint64_t n) {
    if (stopped_ || n > left())
      return stop();
    at_ += n;
  }

  /// All that was walked over and, where the walk met a missing chunk, that chunk.
  uint64_t needed() const { return std::max<uint64_t>(missing_until_, at_); }

 private:
  bool fill() {
    if (at_ >= window_begin_ && at_ < window_begin_ + window_.size())
      return true;
    auto chunk = static_cast<chunk_id>(from_.description().chunks_of({file_, at_, 1}).first);
    auto at = from_.description().place(chunk);
    if (!from_.has(chunk)) {
      missing_until_ = at.offset + at.length;
      return false;
    }
    auto bytes = from_.read(chunk);
    if (!bytes) {
      outcome_ = bytes.err();
      return false;
    }
    window_ = std::move(*bytes);
    window_begin_ = at.offset;
    return true;
  }

  const mirror& from_;
  const uint32_t file_;
  const uint64_t size_;
  uint64_t at_ = 0;
  std::vector<std::byte> window_; // the chunk read last
  uint64_t window_begin_ = 0;
  uint64_t missing_until_ = 0;
  bool stopped_ = false;
  result<void> outcome_;
};

// GGUF's kinds of values and the bytes of those of fixed size; see model/gguf_parser.cpp.
constexpr uint32_t string_kind = 8, array_kind = 9, kinds = 13;
constexpr uint8_t value_bytes[kinds] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
constexpr uint32_t max_dimensions = 4;

void skip_string(walker& in) {
  in.skip(in.number<uint64_t>());
}

void skip_value(walker& in, uint32_t kind) {
  if (kind == string_kind)
    return skip_string(in);
  if (kind >= kinds || kind == array_kind)
    return in.stop();
  in.skip(value_bytes[kind]);
}

void skip_array(walker& in) {
  auto kind = in.number<uint32_t>();
  auto count = in.number<uint64_t>();
  if (kind >= kinds || kind == array_kind || count > in.left())
    return in.stop();
  if (kind != string_kind)
    return in.skip(count * value_bytes[kind]);
  for (uint64_t i = 0; i < count && !in.stopped(); ++i)
    skip_string(in);
}

void skip_pair(walker& in) {
  skip_string(in);
  auto kind = in.number<uint32_t>();
  if (kind == array_kind)
    skip_array(in);
  else
    skip_value(in, kind);
}

void skip_tensor(walker& in) {
  skip_string(in);
  auto dimensions = in.number<uint32_t>();
  if (dimensions > max_dimensions)
    return in.stop();
  in.skip(uint64_t{8} * dimensions + sizeof(uint32_t) + sizeof(uint64_t));
}

result<uint64_t> needed_by(const walker& in) {
  if (!in.outcome())
    return in.outcome().err();
  return in.needed();
}

} // namespace

result<uint64_t> gguf_header_bytes(const mirror& from, uint32_t file) {
  walker in(from, file);
  char magic[4] = {};
  in.read(magic, sizeof magic);
  if (!in.stopped() && std::memcmp(magic, "GGUF", sizeof magic) != 0)
    in.stop();
  in.skip(sizeof(uint32_t));
  auto tensors = in.number<uint64_t>();
  auto pairs = in.number<uint64_t>();
  for (uint64_t i = 0; i < pairs && !in.stopped(); ++i)
    skip_pair(in);
  for (uint64_t i = 0; i < tensors && !in.stopped(); ++i)
    skip_tensor(in);
  return needed_by(in);
}

result<uint64_t> safetensors_header_bytes(const mirror& from, uint32_t file) {
  walker in(from, file);
  in.skip(in.number<uint64_t>());
  return needed_by(in);
}

} // namespace coel::model
