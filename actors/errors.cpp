#include "actors/errors.hpp"

#include <caf/make_message.hpp>
#include <caf/message.hpp>

namespace coel::actors {

namespace {
constexpr auto category = caf::atom("coel");
}

caf::error to_caf(const error& e) {
  return caf::error{static_cast<uint8_t>(e.code), category, caf::make_message(e.message)};
}

error from_caf(const caf::error& e) {
  if (e.category() != category)
    return {ec::internal, "between actors: " + caf::to_string(e)};
  const auto& context = e.context();
  return {static_cast<ec>(e.code()),
          context.match_elements<std::string>() ? context.get_as<std::string>(0) : std::string{}};
}

} // namespace coel::actors
