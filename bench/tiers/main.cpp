// coel-bench-tiers: what caches and predictors of experts would have done, and what the disk does.
#include "bench/tiers/beside.hpp"
#include "bench/tiers/disk.hpp"
#include "bench/tiers/replay.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>

namespace coel::bench {

namespace {

int fail(const error& e) {
  std::fprintf(stderr, "coel-bench-tiers: %s\n", e.message.c_str());
  return 1;
}

struct replay_options {
  std::string routing, model, text;
  size_t tokens = 50'000;
  uint32_t window = 256;
};

void show_caches(const recording& r) {
  struct column {
    const char* name;
    make_rule rule;
  };
  std::vector<column> columns{
      {"LRU", [](auto s, const auto&) { return policy::least_recent(s); }},
      {"LFU", [](auto s, const auto&) { return policy::least_frequent(s); }},
      {"ours", [](auto s, const auto&) { return policy::activation_aware(s); }},
      {"oracle", [](auto s, const auto& f) { return policy::clairvoyant(s, f); }}};
  std::printf("\nhits of the second half, by share of experts in memory\n\n| share |");
  for (const auto& c : columns)
    std::printf(" %s |", c.name);
  std::printf("\n| --- |");
  for (size_t i = 0; i < columns.size(); ++i)
    std::printf(" --- |");
  uint64_t experts = uint64_t{r.shape.layers} * r.shape.experts;
  for (double share : {0.1, 0.125, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}) {
    auto capacity = std::max<uint64_t>(1, static_cast<uint64_t>(share * double(experts)));
    std::printf("\n| %.1f %% |", 100 * share);
    for (const auto& c : columns)
      std::printf(" %.3f |", hit_rate(r, c.rule, capacity));
    std::fflush(stdout);
  }
  std::printf("\n");
}

void show_recalls(const recording& r) {
  std::printf("\nrecall of the predictor, second half: of the %u most probable / of the %u\n\n"
              "| looks ahead | popular | history | gate | both | next token: popular | history |\n"
              "| --- | --- | --- | --- | --- | --- | --- |\n",
              r.shape.top_k, 2 * r.shape.top_k);
  auto history = recalls(r, features::history);
  recall_rows gate{std::vector<recall_row>(3), {}}, both = gate;
  if (!r.gates.empty()) {
    gate = recalls(r, features::gate);
    both = recalls(r, features::both);
  }
  for (size_t a = 0; a < 3; ++a) {
    const auto &h = history.same_token[a], &g = gate.same_token[a], &b = both.same_token[a],
               &n = history.next_token[a];
    std::printf("| %zu | %.2f | %.2f / %.2f | %.2f / %.2f | %.2f / %.2f | %.2f | %.2f / %.2f |\n",
                a + 1, h.popular, h.recall, h.recall_of_double, g.recall, g.recall_of_double,
                b.recall, b.recall_of_double, n.popular, n.recall, n.recall_of_double);
  }
}

void show_read_ahead(const recording& r) {
  auto which = r.gates.empty() ? features::history : features::both;
  uint64_t experts = uint64_t{r.shape.layers} * r.shape.experts;
  std::printf("\nreading ahead: hits of the cache, with what was read ahead, read for nothing per "
              "miss\n\n| share | ahead | p >= 0.3 | p >= 0.5 | p >= 0.7 |\n"
              "| --- | --- | --- | --- | --- |\n");
  for (double share : {0.125, 0.25, 0.5})
    for (uint32_t ahead : {1u, 2u, 3u}) {
      std::printf("| %.1f %% | %u |", 100 * share, ahead);
      for (double p : {0.3, 0.5, 0.7}) {
        auto row = read_ahead(r, which, ahead, p, static_cast<uint64_t>(share * double(experts)));
        std::printf(" %.3f %.3f %.2f |", row.cache_hits, row.found, row.extra);
      }
      std::printf("\n");
      std::fflush(stdout);
    }
}

int replay(const replay_options& o) {
  auto r = o.routing.empty() ? record_model(o.model, o.text, o.tokens, o.window)
                             : read_routing(o.routing);
  if (!r)
    return fail(r.err());
  std::printf("%zu tokens, %u layers of %u experts, %u chosen\n", r->tokens(), r->shape.layers,
              r->shape.experts, r->shape.top_k);
  show_caches(*r);
  show_recalls(*r);
  show_read_ahead(*r);
  return 0;
}

} // namespace

} // namespace coel::bench

int main(int argc, char** argv) {
  CLI::App app{"What caches and predictors of experts would have done, and what the disk does"};
  app.require_subcommand(1);
  coel::bench::replay_options o;
  auto* replay = app.add_subcommand("replay", "replay routing through caches and predictors");
  auto* routing =
      replay->add_option("--routing", o.routing, "a file that coel-node --record-routing wrote");
  auto* model = replay->add_option("--model", o.model, "or: a model that reads a text here");
  replay->add_option("--text", o.text, "the text")->needs(model);
  replay->add_option("--tokens", o.tokens, "of it")->capture_default_str();
  replay->add_option("--window", o.window, "tokens of one session")->capture_default_str();
  model->excludes(routing);
  coel::bench::disk_options d;
  auto* disk = app.add_subcommand("disk", "raw rates of a file's disk, and of reading experts");
  disk->add_option("FILE", d.file, "a large file")->required();
  disk->add_option("--bytes", d.bytes, "of each job")->capture_default_str();
  disk->add_option("--seconds", d.seconds, "of each row")->capture_default_str();
  coel::bench::beside_options b;
  auto* beside =
      app.add_subcommand("beside", "what direct reads cost threads that stream through memory");
  beside->add_option("FILE", b.file, "a large file")->required();
  beside->add_option("-t,--threads", b.threads, "that stream")
      ->capture_default_str()
      ->check(CLI::Range(1u, 64u));
  beside->add_option("--turns", b.turns, "of each row")
      ->capture_default_str()
      ->check(CLI::Range(1u, 1000u));
  CLI11_PARSE(app, argc, argv);
  if (replay->parsed() && o.routing.empty() && (o.model.empty() || o.text.empty())) {
    std::fprintf(stderr, "coel-bench-tiers: give --routing FILE, or --model FILE --text FILE\n");
    return 2;
  }
  if (beside->parsed())
    return coel::bench::measure_beside(b);
  return replay->parsed() ? coel::bench::replay(o) : coel::bench::measure_disk(d);
}
