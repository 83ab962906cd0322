// Options from the [client] table of a TOML file.
#pragma once

#include <CLI/CLI.hpp>

namespace coel::app {

/// Adds --config (environment: COEL_CONFIG; default: $XDG_CONFIG_HOME/coel/coel.toml, which may be
/// missing). A key is an option's name, with _ for -, and holds for every subcommand that has it.
/// The command line and the environment win over the file.
void read_config_file(CLI::App& app);

} // namespace coel::app
