// The terminal that the output goes to.
#pragma once

#include "apps/inspect/text.hpp"

namespace coel::inspect {

/// How wide it is and what it shows: colours only on a terminal, and not where NO_COLOR is set;
/// block characters where the locale has them. Elsewhere COLUMNS columns, or 80.
look terminal();

/// Lines of it; 0 where output is no terminal, or one whose cursor cannot be moved.
size_t terminal_lines();

/// Draws over what was drawn before, without flicker; at most `lines` lines.
void redraw(const std::string& text, size_t lines);

/// To be called once before anything is drawn over.
void clear_screen();

} // namespace coel::inspect
