// The subcommands of `coel`, one source file each. Each adds itself to the command line; when it
// is chosen its callback runs it and sets the exit code.
#pragma once

#include <CLI/CLI.hpp>

namespace coel::app {

enum exit_code : int {
  exit_good = 0,
  exit_failed = 1, ///< the node or the work said no
  exit_usage = 2,
  exit_unreachable = 3, ///< no node answers, or it refused the keys
  exit_interrupted = 130,
};

void add_chat(CLI::App& app, int& exit);
void add_generate(CLI::App& app, int& exit);
void add_tokenize(CLI::App& app, int& exit);
void add_detokenize(CLI::App& app, int& exit);
void add_score(CLI::App& app, int& exit);
void add_status(CLI::App& app, int& exit);
void add_drain(CLI::App& app, int& exit);
void add_expel(CLI::App& app, int& exit);
void add_keygen(CLI::App& app, int& exit);
void add_model(CLI::App& app, int& exit);
void add_eval(CLI::App& app, int& exit);
void add_quantise(CLI::App& app, int& exit);
void add_pack(CLI::App& app, int& exit);
void add_plan(CLI::App& app, int& exit);

} // namespace coel::app
