// What serving a model takes of a card, from its headers alone.
#pragma once

#include "common/card_needs.hpp"
#include "model/memory_needs.hpp"

namespace coel::model {

/// Upper bounds, as memory_needs_of. Errors: those of source::matrix.
result<card_needs> card_needs_of(const source& from, const serving_shape& how);

} // namespace coel::model
