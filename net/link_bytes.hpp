// Fields of link frames, in order. For the sources of net/ only.
#pragma once

#include "common/result.hpp"
#include "net/link_frames.hpp"

#include <bit>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace coel::net {

static_assert(std::endian::native == std::endian::little,
              "frames are little-endian and copied as they lie in memory");

/// First four bytes of every frame: its kind, then three letters.
inline constexpr size_t frame_head_bytes = 4;

/// Builds a frame; small ones only, activations have their own way.
class frame_writer {
 public:
  explicit frame_writer(link_frame_kind kind);

  template <class T>
  frame_writer& put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return bytes(&value, sizeof value);
  }
  frame_writer& bytes(const void* from, size_t size);
  /// Two bytes of length, then the text as UTF-8, cut to `limit` bytes.
  frame_writer& text(std::string_view value, size_t limit);

  zmq::message_t message() const { return zmq::message_t(out_.data(), out_.size()); }
  std::string_view view() const { return out_; }

 private:
  std::string out_;
};

/// Reads a frame. The first thing that is wrong is kept, later reads give zeros and do nothing, so
/// a caller checks once before it allocates and once at the end.
class frame_reader {
 public:
  frame_reader(std::span<const std::byte> frame, link_frame_kind kind);

  template <class T>
  frame_reader& get(T& value, std::string_view what) {
    static_assert(std::is_trivially_copyable_v<T>);
    value = T{};
    if (auto from = take(sizeof value, what); !from.empty())
      std::memcpy(&value, from.data(), sizeof value);
    return *this;
  }
  frame_reader& text(std::string& value, size_t limit, std::string_view what);
  /// The next `size` bytes, or none at all and a problem.
  std::span<const std::byte> take(uint64_t size, std::string_view what);
  /// The next `count` values, or none at all and a problem.
  template <class T>
  std::vector<T> array(uint32_t count, std::string_view what) {
    static_assert(std::is_trivially_copyable_v<T>);
    auto from = take(uint64_t{count} * sizeof(T), what);
    std::vector<T> out(from.size() / sizeof(T));
    if (!from.empty())
      std::memcpy(out.data(), from.data(), from.size());
    return out;
  }
  /// `size` bytes that must be zero.
  frame_reader& unused(size_t size);
  frame_reader& require(bool condition, std::string_view what);

  bool good() const { return !problem_; }
  size_t left() const { return rest_.size(); }
  /// The problem if there is one, or that bytes are left over.
  std::optional<error> finish();
  error problem() const { return *problem_; }

 private:
  std::span<const std::byte> rest_;
  std::optional<error> problem_;
};

/// Whether row numbers rise and are all below the limit; also of none.
bool rising_below(const std::vector<uint32_t>& rows, uint32_t limit);

} // namespace coel::net
