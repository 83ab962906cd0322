// Opening a model of which only a part is here: headers first, then whatever is asked of it.
#pragma once

#include "model/mirror.hpp"
#include "model/source.hpp"

namespace coel::model {

/// What to fetch next so that the model can be opened; empty: open_mirror finds all it reads. A
/// header's length is inside it, so ask again when these are here. Ranges are in order of need.
/// Errors: bad_file (files of no format that CoEL opens), io.
result<std::vector<byte_range>> opening_ranges(const mirror& from);

/// Opens by headers only: matrices whose bytes are missing read as zeros, so ask
/// byte_presence.hpp before one is used. Errors: those of open_model; bad_file if opening_ranges is
/// not empty. The source keeps no hold on the mirror.
result<source_ptr> open_mirror(const mirror& from);

} // namespace coel::model
