// coel-node keygen: a new cluster file.
#pragma once

namespace coel::app {

/// Arguments after "keygen"; the exit code.
int run_keygen(int argc, char** argv);

} // namespace coel::app
