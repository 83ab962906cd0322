// coel-bench: see bench/README.md for the method.
#include "bench/app_engine.hpp"
#include "bench/open_device.hpp"
#include "bench/options.hpp"
#include "bench/report.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <unistd.h>

namespace {

using namespace coel;
using namespace coel::bench;

int fail(const error& e) {
  std::fprintf(stderr, "coel-bench: %s\n", e.message.c_str());
  return 1;
}

/// Redraws one line on a terminal whenever the percentage changes.
load_progress show(std::string what) {
  return [what, last = -1](uint64_t done, uint64_t total) mutable {
    int percent =
        total ? static_cast<int>(100. * static_cast<double>(done) / static_cast<double>(total))
              : 100;
    if (percent == last || !::isatty(STDERR_FILENO))
      return;
    last = percent;
    std::fprintf(stderr, "\r%s %d %%%s", what.c_str(), percent, percent == 100 ? "\n" : "");
  };
}

result<std::filesystem::path> model_path(const options& o) {
  if (!o.random)
    return o.model;
  return model::cached_random_model(o.cache, *o.random, o.device.threads,
                                    show("making " + o.random->shape.name));
}

uint32_t longest_session(const test_plan& plan) {
  uint32_t longest = plan.answer + 32; // the prompts of the other tests are shorter
  for (uint32_t p : plan.prompts)
    longest = std::max(longest, p + 1);
  return longest;
}

result<node_engines> make_engines(const options& o, const engine_needs& needs) {
  if (o.way != through::plain) {
    auto both = make_node_engines(needs, show("loading"));
    if (both && o.way == through::actors)
      both->plain.reset();
    return both;
  }
  auto plain = make_plain_engine(needs, show("loading"));
  if (!plain)
    return plain.err();
  return node_engines{nullptr, std::move(*plain)};
}

result<model_report> measure_model(const options& o, const std::filesystem::path& path) {
  auto from = model::open_model(path);
  if (!from)
    return from.err();
  auto device = open_device(o);
  if (!device)
    return device.err();
  const auto& about = (*from)->info();
  auto start = std::chrono::steady_clock::now();
  auto say = [](const std::string& line) {
    std::fprintf(stderr, "coel-bench: %s\n", line.c_str());
  };
  auto engines = make_engines(o, {path, *device, longest_session(o.plan), o.plan.sessions,
                                  o.ram_bytes, o.expert_share, o.drawn_answers,
                                  o.card_share.value_or(1), o.stores, o.lower, say});
  if (!engines)
    return engines.err();
  std::chrono::duration<double> load = std::chrono::steady_clock::now() - start;
  auto status = (*device)->status();
  model_report report{(*from)->config().name,
                      path.string(),
                      status.name,
                      status.threads,
                      about.parameters,
                      about.file_bytes,
                      status.resident_bytes,
                      load.count(),
                      cost_of_token(**from),
                      {}};
  auto results = run_tests(o.plan, *engines, report.cost, (*from)->config().vocab);
  engines->plain.reset();
  if (!results)
    return results.err();
  report.results = std::move(*results);
  return report;
}

int report_machine(const options& o) {
  auto device = open_device(o);
  if (!device)
    return fail(device.err());
  auto status = (*device)->status();
  machine_report report{measure_machine(status.threads), status.name, {}};
  auto kernels = measure_kernels(**device);
  if (!kernels)
    return fail(kernels.err());
  report.kernels = *kernels;
  std::fputs((o.json ? as_json(report) : as_table(report)).c_str(), stdout);
  return 0;
}

/// A node's own machine and model are its affair: only its speed is told.
int report_node(const options& o) {
  net::app_client_options to;
  to.endpoint = o.endpoint;
  auto engine = make_app_engine(to, o.node_model);
  if (!engine)
    return fail(engine.err());
  constexpr uint32_t vocab = 512; // every model has so many
  auto results = run_tests(o.plan, {std::move(*engine), nullptr}, {}, vocab);
  if (!results)
    return fail(results.err());
  std::fputs((o.json ? as_json(*results) : as_table(*results)).c_str(), stdout);
  return 0;
}

int report_model(const options& o) {
  auto path = model_path(o);
  if (!path)
    return fail(path.err());
  if (o.only_make) {
    std::printf("%s\n", path->c_str());
    return 0;
  }
  auto report = measure_model(o, *path);
  if (!report)
    return fail(report.err());
  std::fputs((o.json ? as_json(*report) : as_table(*report)).c_str(), stdout);
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  auto read = read_options(argc, argv);
  if (const auto* code = std::get_if<int>(&read))
    return *code;
  const auto& o = std::get<options>(read);
  if (!o.endpoint.empty())
    return report_node(o);
  return o.machine ? report_machine(o) : report_model(o);
}
