// What serving a model takes of a card, from its headers alone.
#pragma once

#include "common/card_needs.hpp"
#include "model/memory_needs.hpp"

namespace coel::model {

/// Buffers, working memory and tables of steps of up to so many rows, on a card.
uint64_t card_step_bytes(const model_config& config, uint32_t rows, uint32_t logits);

/// Upper bounds, as memory_needs_of. Errors: those of source::matrix.
result<card_needs> card_needs_of(const source& from, const serving_shape& how);

} // namespace coel::model
