#include "bench/plain.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <iostream>

namespace {

using namespace coel::bench;

void print(const report& r) {
  std::printf("%s on %s\nweights %.2f GB, %.2f GB read per decoded token, loaded in %.1f s\n",
              r.model.c_str(), r.device.c_str(), double(r.weight_bytes) / 1e9,
              double(r.bytes_per_token) / 1e9, r.load_seconds);
  for (const auto& row : r.rows) {
    const auto& s = row.tokens_per_s;
    std::printf("%-14s %8.2f tokens/s  [%.2f .. %.2f]", row.test.c_str(), s.median, s.least,
                s.most);
    if (row.test.starts_with("decode"))
      std::printf("  %.1f GB/s", s.median * double(r.bytes_per_token) / 1e9);
    std::printf("\n");
  }
}

void print_json(const report& r) {
  nlohmann::json j{{"model", r.model},
                   {"device", r.device},
                   {"weight_bytes", r.weight_bytes},
                   {"bytes_per_token", r.bytes_per_token},
                   {"load_s", r.load_seconds}};
  for (const auto& row : r.rows)
    j["tests"].push_back({{"test", row.test},
                          {"tokens_per_s", row.tokens_per_s.median},
                          {"least", row.tokens_per_s.least},
                          {"most", row.tokens_per_s.most}});
  std::cout << j.dump(2) << "\n";
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"coel-bench: prompt and decode speed of a model on this machine"};
  options o;
  bool json = false;
  app.add_option("model", o.model, "GGUF file or Hugging Face directory")->required();
  app.add_option("-p,--prompt", o.prompt, "prompt lengths in tokens")
      ->capture_default_str()
      ->check(CLI::Range(1u, 1u << 20));
  app.add_option("-n,--answer", o.answer, "tokens decoded; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(0u, 1u << 20));
  app.add_option("-t,--threads", o.threads, "threads; 0: one per core")->capture_default_str();
  app.add_option("-r,--repetitions", o.repetitions,
                 "counted runs of each test, after one that is not")
      ->capture_default_str()
      ->check(CLI::Range(1u, 1000u));
  app.add_option("--kernels", o.kernels, "kernel set; the best usable one if not given");
  app.add_flag("--json", json, "print JSON");
  CLI11_PARSE(app, argc, argv);
  auto made = run_plain(o);
  if (!made) {
    std::fprintf(stderr, "coel-bench: %s\n", made.err().message.c_str());
    return 1;
  }
  json ? print_json(*made) : print(*made);
  return 0;
}
