#include "common/request.hpp"

#include <array>

namespace coel {

namespace {
constexpr std::array<std::string_view, 5> reasons{"end", "stop", "length", "cancelled", "deadline"};
}

std::string_view to_string(finish_reason reason) {
  return reasons[static_cast<size_t>(reason)];
}

std::optional<finish_reason> finish_reason_from_name(std::string_view name) {
  for (size_t i = 0; i < reasons.size(); ++i)
    if (reasons[i] == name)
      return static_cast<finish_reason>(i);
  return std::nullopt;
}

} // namespace coel
