#include "apps/coel/cmd_eval.hpp"

#include "cpu/device.hpp"
#include "model/json.hpp"
#include "model/mapped_file.hpp"
#include "model/perplexity.hpp"
#include "model/tokenizer.hpp"

#include <cstdio>
#include <fstream>
#include <unistd.h>

namespace coel::app {

namespace {

int fail(const error& e) {
  std::fprintf(stderr, "coel eval: %s\n", e.message.c_str());
  return 1;
}

result<std::vector<int32_t>> read_ids(const std::filesystem::path& path) {
  auto parsed = model::read_json(path);
  if (!parsed)
    return parsed.err();
  try {
    const auto& j = *parsed;
    return (j.is_array()               ? j
            : j.contains("prompt_ids") ? j.at("prompt_ids")
                                       : j.at("ids"))
        .get<std::vector<int32_t>>();
  } catch (const std::exception& e) {
    return {ec::bad_file, path.string() + ": " + e.what()};
  }
}

result<std::unique_ptr<model::runner>> load(const model::source_ptr& source, const eval_options& o,
                                            uint32_t context) {
  auto device = cpu::make_device({o.threads, o.kernels, 0, true});
  if (!device)
    return device.err();
  return model::runner::load(source, *device, {context, 512, 64});
}

result<void> write_logits(model::runner& run, const std::vector<int32_t>& ids,
                          const std::filesystem::path& path) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  auto fed = run.feed_all(ids, [&](uint32_t, std::span<const float> logits) {
    out.write(reinterpret_cast<const char*>(logits.data()),
              static_cast<std::streamsize>(logits.size_bytes()));
  });
  if (!fed)
    return fed;
  if (!out.flush())
    return {ec::io, path.string() + ": cannot write"};
  std::printf("%zu x %u logits written to %s\n", ids.size(), run.config().vocab, path.c_str());
  return {};
}

result<void> show_perplexity(const model::source_ptr& source, const eval_options& o) {
  auto text = model::mapped_file::open(o.perplexity_text);
  if (!text)
    return text.err();
  auto tokenizer = model::make_tokenizer(source->vocabulary());
  if (!tokenizer)
    return tokenizer.err();
  auto bytes = (*text)->bytes();
  auto tokens =
      (*tokenizer)
          ->encode({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, true, false);
  auto run = load(source, o, o.window);
  if (!run)
    return run.err();
  bool terminal = isatty(STDERR_FILENO);
  auto got = model::perplexity(
      **run, tokens, {o.window, o.all_positions}, [&](uint32_t done, uint32_t total) {
        if (terminal)
          std::fprintf(stderr, "\rwindow %u of %u%s", done, total, done == total ? "\n" : "");
      });
  if (!got)
    return got.err();
  std::printf("perplexity %.4f  loss %.4f  (%llu predictions, %s, %u windows of %u)\n",
              got->perplexity, got->loss, static_cast<unsigned long long>(got->predictions),
              o.all_positions ? "all positions" : "second halves", got->windows, o.window);
  return {};
}

} // namespace

int cmd_eval(const eval_options& o) {
  if (o.perplexity_text.empty() && o.ids.empty())
    return fail({ec::bad_argument,
                 "nothing to do: give --perplexity TEXTFILE, or --ids JSON with --logits OUT.f32"});
  if (o.ids.empty() != o.logits.empty())
    return fail({ec::bad_argument, "--ids and --logits go together"});
  auto source = model::open_model(o.model);
  if (!source)
    return fail(source.err());
  if (!o.ids.empty()) {
    auto ids = read_ids(o.ids);
    if (!ids)
      return fail(ids.err());
    auto run = load(*source, o, static_cast<uint32_t>(std::max<size_t>(ids->size(), 1)));
    if (!run)
      return fail(run.err());
    if (auto ok = write_logits(**run, *ids, o.logits); !ok)
      return fail(ok.err());
  }
  if (!o.perplexity_text.empty())
    if (auto ok = show_perplexity(*source, o); !ok)
      return fail(ok.err());
  return 0;
}

} // namespace coel::app
