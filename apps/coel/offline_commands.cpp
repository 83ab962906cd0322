// Subcommands that need no node: command line only, the work is in cmd_*.cpp.
#include "apps/coel/cmd_quantise.hpp"
#include "apps/coel/commands.hpp"

namespace coel::app {

void add_quantise(CLI::App& app, int& exit) {
  auto options = std::make_shared<quantise_options>();
  auto type = std::make_shared<std::string>(to_string(options->type));
  auto& command = *app.add_subcommand("quantise", "Rewrite a model as GGUF in another precision");
  command.add_option("in", options->in, "GGUF file or Hugging Face directory")
      ->required()
      ->check(CLI::ExistingPath);
  command
      .add_option("out", options->out,
                  "GGUF file to write; replaced only when the new one is whole")
      ->required();
  command.add_option("--type", *type, "f32, f16, bf16, q8_0, q4_0, q4_k, q5_k or q6_k")
      ->capture_default_str()
      ->check([](const std::string& name) {
        return dtype_from_name(name) ? "" : "no such type: " + name;
      });
  command.add_option("--threads", options->threads, "0: one per core")->capture_default_str();
  command.callback([options, type, &exit] {
    options->type = *dtype_from_name(*type);
    exit = cmd_quantise(*options);
  });
}

} // namespace coel::app
