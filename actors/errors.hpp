// coel::error inside caf::error and back: code and sentence survive the way between actors.
#pragma once

#include "common/result.hpp"

#include <caf/error.hpp>

namespace coel::actors {

caf::error to_caf(const error& e);

/// Errors that CAF itself raised (a receiver that is gone) become ec::internal with CAF's text.
error from_caf(const caf::error& e);

} // namespace coel::actors
