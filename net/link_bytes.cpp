#include "net/link_bytes.hpp"

#include "net/utf8.hpp"

#include <algorithm>

namespace coel::net {

namespace {

constexpr std::string_view letters = "CoL";
constexpr auto last_kind = link_frame_kind::stage_answer;

} // namespace

std::optional<link_frame_kind> kind_of(std::span<const std::byte> frame) {
  if (frame.size() < frame_head_bytes || frame[0] > std::byte(last_kind) ||
      std::memcmp(frame.data() + 1, letters.data(), letters.size()) != 0)
    return std::nullopt;
  return static_cast<link_frame_kind>(frame[0]);
}

// All of these have four bytes between their head and the id.
std::optional<uint64_t> id_of(std::span<const std::byte> frame) {
  using k = link_frame_kind;
  auto kind = kind_of(frame);
  uint64_t id = 0;
  constexpr size_t at = frame_head_bytes + 4;
  if (!kind || frame.size() < at + sizeof id)
    return std::nullopt;
  if (*kind != k::dispatch && *kind != k::output && *kind != k::sum && *kind != k::failure &&
      *kind != k::want && *kind != k::block && *kind != k::stage_open && *kind != k::stage_granted)
    return std::nullopt;
  std::memcpy(&id, frame.data() + at, sizeof id);
  return id;
}

frame_writer::frame_writer(link_frame_kind kind) {
  out_ += static_cast<char>(kind);
  out_ += letters;
}

frame_writer& frame_writer::bytes(const void* from, size_t size) {
  out_.append(static_cast<const char*>(from), size);
  return *this;
}

frame_writer& frame_writer::text(std::string_view value, size_t limit) {
  auto whole = repaired_utf8(value);
  if (whole.size() > limit) {
    size_t end = limit; // not inside a character
    while (end > 0 && (static_cast<unsigned char>(whole[end]) & 0xC0) == 0x80)
      --end;
    whole.resize(end);
  }
  put(static_cast<uint16_t>(whole.size()));
  out_ += whole;
  return *this;
}

frame_reader::frame_reader(std::span<const std::byte> frame, link_frame_kind kind) : rest_(frame) {
  require(kind_of(frame) == kind, "it is of another kind");
  take(frame_head_bytes, "its head");
}

std::span<const std::byte> frame_reader::take(uint64_t size, std::string_view what) {
  if (problem_)
    return {};
  if (size > rest_.size()) {
    problem_ = error{ec::bad_frame, "the frame ends in " + std::string(what)};
    return {};
  }
  auto taken = rest_.first(static_cast<size_t>(size));
  rest_ = rest_.subspan(static_cast<size_t>(size));
  return taken;
}

frame_reader& frame_reader::text(std::string& value, size_t limit, std::string_view what) {
  uint16_t size = 0;
  get(size, what);
  require(size <= limit, what);
  auto from = take(size, what);
  value.assign(reinterpret_cast<const char*>(from.data()), from.size());
  return require(is_utf8(value), what);
}

frame_reader& frame_reader::unused(size_t size) {
  auto from = take(size, "unused bytes");
  return require(std::all_of(from.begin(), from.end(), [](auto b) { return b == std::byte{0}; }),
                 "unused bytes");
}

frame_reader& frame_reader::require(bool condition, std::string_view what) {
  if (!condition && !problem_)
    problem_ = error{ec::bad_frame, "the frame is wrong: " + std::string(what)};
  return *this;
}

std::optional<error> frame_reader::finish() {
  require(rest_.empty(), "bytes are left over at its end");
  return problem_;
}

bool rising_below(const std::vector<uint32_t>& rows, uint32_t limit) {
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i] >= limit || (i && rows[i] <= rows[i - 1]))
      return false;
  return true;
}

} // namespace coel::net
