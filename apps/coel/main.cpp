// coel: asks a node, and looks at model files without one.
#include "apps/coel/commands.hpp"
#include "apps/coel/config_file.hpp"

#include <iostream>

int main(int argc, char** argv) {
  using namespace coel::app;
  CLI::App app("Talks to a CoEL node, and looks at model files without one.", "coel");
  app.set_version_flag("--version", std::string("coel ") + COEL_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Options come from the command line, else the environment, else the [client] table of the\n"
      "configuration file, which is TOML.\n"
      "Exit codes: 0 done, 1 the request failed, 2 usage, 3 no node can be reached, 130 "
      "interrupted.");
  read_config_file(app);
  int exit = exit_good;
  add_chat(app, exit);
  add_generate(app, exit);
  add_tokenize(app, exit);
  add_detokenize(app, exit);
  add_score(app, exit);
  add_status(app, exit);
  add_drain(app, exit);
  add_expel(app, exit);
  add_keygen(app, exit);
  add_model(app, exit);
  add_eval(app, exit);
  add_quantise(app, exit);
  add_pack(app, exit);
  add_plan(app, exit);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? exit_good : exit_usage;
  } catch (const std::exception& e) {
    std::cerr << "coel: " << e.what() << '\n';
    return exit_failed;
  }
  return exit;
}
