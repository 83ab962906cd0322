// Subcommands that need no node: command line only, the work is in cmd_*.cpp.
#include "apps/coel/cmd_eval.hpp"
#include "apps/coel/cmd_model.hpp"
#include "apps/coel/cmd_pack.hpp"
#include "apps/coel/cmd_quantise.hpp"
#include "apps/coel/commands.hpp"

namespace coel::app {

void add_model(CLI::App& app, int& exit) {
  auto o = std::make_shared<model_options>();
  auto& command =
      *app.add_subcommand("model", "What a model file is, and what running it will take");
  command.add_option("file", o->file, "GGUF file or Hugging Face directory")->required();
  command.add_flag("--json", o->json, "Print JSON");
  auto* ram = command
                  .add_option("--ram", o->ram_bytes,
                              "Also measure disk and memory for a second and forecast tokens per "
                              "second with such a budget, such as 5GB")
                  ->transform(CLI::AsSizeValue(false));
  command
      .add_option("--gpu", o->gpu_bytes,
                  "With --ram: what would lie on a card with such a budget, such as 8GB, and what "
                  "in memory; no speed")
      ->transform(CLI::AsSizeValue(false))
      ->needs(ram);
  command.add_option("--threads,-t", o->threads, "Of the forecast; 0: one per core");
  command.callback([o, &exit] { exit = cmd_model(*o); });
}

void add_eval(CLI::App& app, int& exit) {
  auto options = std::make_shared<eval_options>();
  auto& command = *app.add_subcommand("eval", "Perplexity or logits of a model, without a node");
  command.add_option("--model,-m", options->model, "GGUF file or Hugging Face directory")
      ->required();
  auto* text = command.add_option("--perplexity", options->perplexity_text,
                                  "Text file to measure the perplexity of");
  command.add_option("--window", options->window, "Tokens of context per window")
      ->capture_default_str()
      ->check(CLI::Range(2u, 1u << 20))
      ->needs(text);
  command
      .add_flag("--all-positions", options->all_positions,
                "Score every position, not the second half of windows")
      ->needs(text);
  auto* ids =
      command.add_option("--ids", options->ids,
                         "JSON file of token ids to compute logits for: a list, or an object with "
                         "prompt_ids or ids");
  auto* logits = command.add_option("--logits", options->logits,
                                    "Where to write them: float32, [tokens, vocabulary]");
  ids->needs(logits);
  logits->needs(ids);
  command.add_option("--threads", options->threads, "0: one per core")->capture_default_str();
  command.add_option("--kernels", options->kernels, "Kernel set; the best usable one if not given")
      ->envname("COEL_CPU");
  command.callback([options, text, ids, &exit] {
    if (text->empty() && ids->empty())
      throw CLI::RequiredError("eval: one of --perplexity and --ids");
    exit = cmd_eval(*options);
  });
}

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

void add_pack(CLI::App& app, int& exit) {
  auto o = std::make_shared<pack_options>();
  auto& command = *app.add_subcommand(
      "pack", "Write a model's experts so that a node whose memory they do not fit reads them "
              "without further work (docs/tiers.md)");
  command.add_option("model", o->model, "GGUF file or Hugging Face directory")
      ->required()
      ->check(CLI::ExistingPath);
  command.add_option("out", o->out,
                     "File to write; replaced only when the new one is whole (default: "
                     "MODEL.experts, where coel-node looks for it)");
  command.add_flag("--check", o->check,
                   "Write nothing: compare all of the file with its checksums");
  command.add_option("--threads,-t", o->threads, "0: one per core")->capture_default_str();
  command
      .add_option("--kernels", o->kernels,
                  "Kernel set that the node will use; the best usable one if not given")
      ->envname("COEL_CPU");
  command.callback([o, &exit] { exit = cmd_pack(*o); });
}

} // namespace coel::app
