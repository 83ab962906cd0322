#include "common/result.hpp"

#include <array>

namespace coel {

namespace {

constexpr std::array<std::string_view, ec_count> names{
    "none",
    "unspecified",
    "io",
    "bad_file",
    "unsupported",
    "bad_argument",
    "bad_frame",
    "version_mismatch",
    "unknown_model",
    "unknown_request",
    "busy",
    "too_long",
    "deadline",
    "cancelled",
    "out_of_memory",
    "expert_not_here",
    "device_lost",
    "shutting_down",
    "helper_only",
    "internal",
};
static_assert(!names.back().empty(), "every ec needs a name");

} // namespace

std::string_view to_string(ec code) {
  auto i = static_cast<size_t>(code);
  return i < names.size() ? names[i] : "unspecified";
}

ec ec_from_name(std::string_view name) {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name)
      return static_cast<ec>(i);
  return ec::unspecified;
}

std::string to_string(const error& e) {
  return std::string(to_string(e.code)) + ": " + e.message;
}

} // namespace coel
