#include "apps/coel/cmd_quantise.hpp"

#include "apps/coel/progress_line.hpp"
#include "model/quantise_model.hpp"

#include <cstdio>

namespace coel::app {

namespace {

double megabytes(uint64_t bytes) {
  return static_cast<double>(bytes) / 1e6;
}

int fail(const error& e) {
  std::fprintf(stderr, "coel quantise: %s\n", e.message.c_str());
  return 1;
}

} // namespace

int cmd_quantise(const quantise_options& options) {
  auto from = model::open_model(options.in);
  if (!from)
    return fail(from.err());
  auto plan = model::plan_quantisation(**from, options.type);
  if (!plan)
    return fail(plan.err());
  const auto& about = (*from)->info();
  std::printf("%s: %s, %.1f M parameters, %.1f MB\n", options.in.c_str(), about.format.c_str(),
              static_cast<double>(about.parameters) / 1e6, megabytes(about.file_bytes));
  if (auto kept = model::describe_fallbacks(plan->tensors); !kept.empty())
    std::printf("not divisible into blocks of %s: %s\n", to_string(options.type).data(),
                kept.c_str());
  std::fflush(stdout);
  progress_line line;
  auto ok = model::quantise_model(**from, *plan, options.out, options.threads,
                                  [&](uint64_t done, uint64_t total) { line.show(done, total); });
  if (!ok)
    return fail(ok.err());
  std::printf("%s: %s, %.1f MB of tensors, %.2f bits a weight\n", options.out.c_str(),
              to_string(options.type).data(), megabytes(plan->bytes()),
              8. * static_cast<double>(plan->bytes()) / static_cast<double>(about.parameters));
  return 0;
}

} // namespace coel::app
