// Keys of the terminal for libedit, whose own reader notices a Ctrl-C only while it waits in
// read(): one that comes a moment before would be kept until the next key.
#pragma once

#include <histedit.h>

namespace coel::app {

/// For EL_GETCFN. 1: a key; 0: the terminal is gone; -1 with errno: EINTR after a Ctrl-C, which
/// interrupt_guard::take() then tells, or what read() said.
int read_key(EditLine* editor, wchar_t* key);

} // namespace coel::app
