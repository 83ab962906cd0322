// coel-bench-placement: what placements of experts cost on recorded and synthetic routing, without
// a network. The tables of docs/placement.md.
#include "bench/placement/record.hpp"
#include "bench/placement/tables.hpp"
#include "model/mapped_file.hpp"
#include "policy/synthetic_routing.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <fstream>

namespace {

using namespace coel;
using namespace coel::bench;

int fail(const error& e) {
  std::fprintf(stderr, "coel-bench-placement: %s\n", e.message.c_str());
  return 1;
}

int record(const record_options& options, const std::string& out) {
  auto trace = record_routing(options);
  if (!trace)
    return fail(trace.err());
  auto bytes = policy::encode_routing(*trace);
  std::ofstream file(out, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush())
    return fail({ec::io, out + ": cannot write"});
  print_routing(*trace);
  return 0;
}

result<policy::routing_trace> read(const std::string& path, const std::string& regime,
                                   uint32_t sessions) {
  if (path.empty()) {
    auto which = policy::regime_from_name(regime);
    if (!which)
      return {ec::bad_argument, "--regime is weak, medium or strong"};
    policy::synthetic_routing made({{24, 60, 4}, *which, 8, -1, 1});
    policy::routing_trace all{{24, 60, 4}, {}, {}};
    for (uint32_t d = 0; d < made.domains(); ++d) {
      auto one = made.trace(sessions / made.domains(), 120, std::span(&d, 1), 20 + d);
      for (size_t t = 0; t < one.tokens(); ++t)
        all.append(one.path(t), d * sessions_of_a_domain + one.session[t]);
    }
    return all;
  }
  auto file = model::mapped_file::open(path);
  if (!file)
    return file.err();
  return policy::parse_routing((*file)->bytes());
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app("Placements of experts on recorded and synthetic routing", "coel-bench-placement");
  app.require_subcommand(1);
  int exit = 0;

  auto& rec = *app.add_subcommand("record", "Routing of a model over texts");
  record_options what;
  std::string out;
  rec.add_option("--model,-m", what.model, "GGUF file or Hugging Face directory")->required();
  rec.add_option("--text", what.texts, "A text; each is a domain of its own")->required();
  rec.add_option("--out", out, "Routing file to write")->required();
  rec.add_option("--sessions", what.sessions, "Of each domain at most")->capture_default_str();
  rec.add_option("--session-tokens", what.session_tokens, "Longer texts are cut")
      ->capture_default_str();
  rec.add_option("--threads", what.threads, "Of the device")->capture_default_str();
  rec.callback([&] { exit = record(what, out); });

  auto& rounds = *app.add_subcommand("rounds", "Rounds, messages and kB a token of each candidate");
  std::string routing, regime = "medium", homes = "anywhere";
  uint32_t sessions = 240;
  rounds_options how;
  rounds.add_option("--routing", routing, "Routing file; else --regime");
  rounds.add_option("--regime", regime, "weak, medium or strong")->capture_default_str();
  rounds.add_option("--sessions", sessions, "Of synthetic routing")->capture_default_str();
  rounds.add_option("--homes", homes, "anywhere, domain, prompt or one")->capture_default_str();
  rounds.add_option("--nodes", how.nodes, "Numbers of nodes")->delimiter(',');
  rounds.add_option("--copies", how.copies, "Memory, in copies of all experts")->delimiter(',');
  rounds.add_option("--row-bytes", how.wire_row_bytes, "On the wire, one way")
      ->capture_default_str();
  rounds.add_option("--moves", how.search_moves, "Of the local search")->capture_default_str();
  rounds.callback([&] {
    auto trace = read(routing, regime, sessions);
    if (!trace) {
      exit = fail(trace.err());
      return;
    }
    how.single_home = homes == "one";
    how.homes = homes == "prompt"   ? home_choice::by_prompt
                : homes == "domain" ? home_choice::by_domain
                                    : home_choice::anywhere;
    print_routing(*trace);
    print_rounds(*trace, how);
  });

  uint32_t seeds = 8;
  auto& replicas = *app.add_subcommand("replicas", "Ways of choosing a replica, simulated");
  replicas.add_option("--seeds", seeds, "Worlds to average over")->capture_default_str();
  replicas.callback([&] { print_replicas(seeds); });

  app.add_subcommand("scale", "Time of planning")->callback([] { print_scale(); });
  CLI11_PARSE(app, argc, argv);
  return exit;
}
