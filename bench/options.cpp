#include "bench/options.hpp"

#include <CLI/CLI.hpp>

#include <map>

namespace coel::bench {

namespace {

struct texts { // options that become values of their own
  std::string device = "cpu", random, type = "q4_0", way = "actors", low_type = "auto";
  float skew = 0.8f;
  uint64_t seed = 1;
};

void add_model_options(CLI::App& app, options& o, texts& t) {
  auto* model = app.add_option("model", o.model, "GGUF file or Hugging Face directory");
  auto* random = app.add_option("--random", t.random,
                                "random weights in a real shape: " + model::known_shapes());
  app.add_flag("--machine", o.machine,
               "measure read bandwidth and dot-product rate of this machine, no model")
      ->excludes(model)
      ->excludes(random);
  random->excludes(model);
  auto* endpoint = app.add_option("--endpoint", o.endpoint,
                                  "measure a node that runs there, alone or in a cluster");
  endpoint->excludes(model)->excludes(random);
  app.add_option("--model", o.node_model, "with --endpoint: the model, as the node calls it")
      ->needs(endpoint);
  app.add_option("--type", t.type, "type of the random weights: f16, q8_0, q4_0, q4_k, ...")
      ->capture_default_str();
  app.add_option("--skew", t.skew, "Zipf exponent of expert popularity in the random model")
      ->capture_default_str()
      ->check(CLI::Range(0.f, 4.f));
  app.add_option("--seed", t.seed, "of the random weights")->capture_default_str();
  app.add_option("--cache", o.cache, "folder that keeps random models")->capture_default_str();
  app.add_flag("--make-only", o.only_make, "make the random model and print its path");
}

void add_test_options(CLI::App& app, options& o, texts& t) {
  auto tokens = CLI::Range(0u, 1u << 20);
  app.add_option("-p,--prompt", o.plan.prompts, "prompt lengths in tokens, each a test; 0: none")
      ->capture_default_str()
      ->delimiter(',')
      ->check(tokens);
  app.add_option("-n,--answer", o.plan.answer,
                 "tokens decoded after a prompt of one token; 0: none")
      ->capture_default_str()
      ->check(tokens);
  app.add_option("-r,--repetitions", o.plan.repetitions,
                 "counted runs of each test, after one that is not")
      ->capture_default_str()
      ->check(CLI::Range(1u, 1000u));
  app.add_option("--sessions", o.plan.sessions, "also so many sessions at once, through the actors")
      ->capture_default_str()
      ->check(CLI::Range(1u, 64u));
  app.add_option("--through", t.way,
                 "actors: a whole node; plain: the same kernels in a loop; both: in turn, with "
                 "the cost of messaging")
      ->capture_default_str()
      ->check(CLI::IsMember({"plain", "actors", "both"}));
  auto* ram = app.add_option("--ram", o.ram_bytes,
                             "memory of the node, such as 5GB: experts that do not fit are read "
                             "when they are needed (docs/tiers.md); 0: no limit")
                  ->transform(CLI::AsSizeValue(false));
  app.add_option("--resident", o.expert_share,
                 "share of routed experts in memory, instead of --ram")
      ->check(CLI::Range(0.01, 0.99))
      ->excludes(ram);
  app.add_option("--store", o.stores,
                 "file of experts that coel pack wrote, to read them from (default: MODEL.experts "
                 "where it is there)");
  app.add_option("--low-precision", o.lower.share,
                 "share of the memory for experts that holds copies of fewer bits, run instead of "
                 "waiting for the disk")
      ->check(CLI::Range(0.0, 0.9));
  app.add_option("--low-precision-type", t.low_type, "type of these copies: auto, q8_0 or q4_0")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "q8_0", "q4_0"}));
  app.add_flag("--draw", o.drawn_answers,
               "draw each token of an answer, nearly all as likely: what random weights say is "
               "else soon the same few tokens, and their experts");
  app.add_option("--device", t.device, "cpu, or gpu: all weights on the card")
      ->capture_default_str()
      ->check(CLI::IsMember({"cpu", "gpu"}));
  app.add_option("--card", o.cards,
                 "with --device gpu: which, counted from 0; several, such as 0,1, with --gpu or "
                 "--card-share")
      ->capture_default_str()
      ->delimiter(',');
  app.add_option("--gpu", o.gpu_bytes,
                 "with --device gpu: memory of the card, such as 8GB; experts that do not fit run "
                 "on the CPU beside it")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--card-share", o.card_share,
                 "with --device gpu: share of routed experts on the card, the others on the CPU")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("-t,--threads", o.device.threads, "compute threads; 0: one per core")
      ->capture_default_str();
  app.add_option("--kernels", o.device.kernels, "kernel set; the best usable one if not given")
      ->check(CLI::IsMember(cpu::usable_kernels()));
  app.add_flag("--json", o.json, "print JSON");
}

/// What is still to be said against options that are each well-formed; empty: nothing.
std::string complaint(options& o, const texts& t) {
  if (!o.machine && o.model.empty() && t.random.empty() && o.endpoint.empty())
    return "give a model file, --random SHAPE, --endpoint or --machine";
  o.runs_on = t.device == "gpu" ? device_kind::gpu : device_kind::cpu;
  o.way = t.way == "plain" ? through::plain : t.way == "both" ? through::both : through::actors;
  if ((o.gpu_bytes || o.card_share) && (o.runs_on != device_kind::gpu || o.way != through::actors))
    return "--gpu and --card-share need --device gpu and --through actors";
  if (o.plan.sessions > 1 && o.way == through::plain)
    return "--sessions needs the actors: the plain loop runs one session at a time";
  if ((o.ram_bytes || o.expert_share > 0) && o.way != through::actors)
    return "--ram and --resident need --through actors: the plain loop holds every expert";
  bool tiers = o.ram_bytes || o.expert_share > 0;
  if ((!o.stores.empty() || o.lower.share > 0) && !tiers)
    return "--store and --low-precision need --ram or --resident: where all experts fit, none is "
           "read";
  if (t.low_type != "auto")
    o.lower.type = dtype_from_name(t.low_type);
  if (o.only_make && t.random.empty())
    return "--make-only needs --random";
  if (t.random.empty())
    return {};
  auto shape = model::shape_by_name(t.random);
  if (!shape)
    return "unknown shape '" + t.random + "'; known are " + model::known_shapes();
  auto type = dtype_from_name(t.type);
  if (!type)
    return "unknown type '" + t.type + "'; known are f32, f16, bf16, q8_0, q4_0, q4_k, q5_k, q6_k";
  o.random = model::random_model_spec{*shape, *type, t.skew, t.seed};
  return {};
}

} // namespace

std::variant<options, int> read_options(int argc, char** argv) {
  CLI::App app{"coel-bench " COEL_VERSION ": prompt and decode speed of a model on this machine\n"
               "  coel-bench model.gguf -p 512 -n 64 -t 2\n"
               "  coel-bench --random qwen1.5-moe-a2.7b --type q4_0 --through both\n"
               "  coel-bench --endpoint ipc:///run/user/1000/coel.sock -p 128 -n 64 --sessions 8\n"
               "  coel-bench --machine"};
  options o;
  texts t;
  app.set_version_flag("--version", COEL_VERSION);
  add_model_options(app, o, t);
  add_test_options(app, o, t);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (auto why = complaint(o, t); !why.empty()) {
    std::fprintf(stderr, "coel-bench: %s\n", why.c_str());
    return 2;
  }
  return o;
}

} // namespace coel::bench
