#include "apps/node/options.hpp"

#include "model/random_model.hpp"
#include "net/endpoints.hpp"
#include "net/keys.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <cstdlib>

namespace coel::app {

namespace {

/// Of this node's keys: XDG_STATE_HOME or ~/.local/state.
std::filesystem::path default_state_folder() {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state && *state)
    return std::filesystem::path(state) / "coel";
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home && *home ? home : "/var/lib") / ".local/state/coel";
}

/// NAME=FILE or FILE.
actors::model_choice parse_model(const std::string& text) {
  auto equals = text.find('=');
  if (equals == std::string::npos || std::filesystem::exists(text))
    return {text, ""};
  return {text.substr(equals + 1), text.substr(0, equals)};
}

} // namespace

std::variant<node_options, int> read_options(int argc, char** argv) {
  node_options o;
  o.node.version = COEL_VERSION;
  o.node.cache_folder = model::default_cache_folder() / "manifests";
  o.node.state_folder = model::default_cache_folder() / "predictors";
  o.node.join.folder = model::default_cache_folder() / "models";
  std::vector<std::string> models, join;
  std::string keys;
  actors::cluster_config cluster;
  cluster.state_folder = default_state_folder();
  std::string wire = "f16", shape = "auto", homing = "auto", replica_choice = "trained";
  std::string low_type = "auto";
  uint16_t link_port = 0;
  std::optional<uint16_t> hello_port;
  int64_t missing_ms = cluster.missing_patience.count();
  CLI::App app{"coel-node " COEL_VERSION ": serves Mixture-of-Experts models to applications.\n"
               "Every option may also stand in a TOML file (--config) or in the environment "
               "variable named behind it."};
  app.set_version_flag("--version", COEL_VERSION);
  app.set_config("--config", "", "TOML file with options by their long names")
      ->envname("COEL_CONFIG");
  app.add_option("-m,--model", models,
                 "GGUF file or Hugging Face directory, or NAME=FILE; several are served at once")
      ->envname("COEL_MODEL");
  app.add_option("-e,--endpoint", o.node.server.endpoints,
                 "where to listen: ipc://PATH or tcp://HOST:PORT; several allowed (default: " +
                     net::default_endpoint() + ")")
      ->envname("COEL_ENDPOINT");
  app.add_option("-t,--threads", o.device.threads, "compute threads; 0: one per core")
      ->capture_default_str()
      ->envname("COEL_THREADS");
  app.add_option("--kernels", o.device.kernels,
                 "kernel set: " + CLI::detail::join(cpu::usable_kernels(), ", ") +
                     "; the best usable one if not given")
      ->envname("COEL_CPU");
  app.add_option("--ram", o.node.ram_bytes,
                 "memory that this node may take, such as 8GB; alone, it reads experts that do not "
                 "fit when they are needed (docs/tiers.md); 0: what is free")
      ->capture_default_str()
      ->transform(CLI::AsSizeValue(false))
      ->envname("COEL_RAM");
  app.add_option("--store", o.node.stores,
                 "file of experts that coel pack wrote, for models that do not fit; several "
                 "allowed (default: MODEL.experts where it is there)")
      ->envname("COEL_STORE");
  app.add_option("--resident", o.node.expert_share,
                 "share of routed experts in memory instead of a budget, to measure with; 0: as "
                 "--ram says")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 0.99))
      ->envname("COEL_RESIDENT");
  app.add_option("--low-precision", o.node.lower.share,
                 "share of the memory for experts that holds copies of fewer bits of what is "
                 "missed most: these run where waiting for the disk would take longer, and answers "
                 "change (docs/tiers.md); 0: every miss is waited for")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 0.9))
      ->envname("COEL_LOW_PRECISION");
  app.add_option("--low-precision-type", low_type,
                 "type of these copies: q8_0 or q4_0; auto: of 16 bits and more q8_0, else q4_0")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "q8_0", "q4_0"}))
      ->envname("COEL_LOW_PRECISION_TYPE");
  app.add_option(
         "--gpu", o.gpu_bytes,
         "memory of a CUDA card that this node may take, such as 8GB: what every token uses "
         "and the experts used most lie there, the others run on the CPU beside it "
         "(docs/gpu.md); 0: no card")
      ->capture_default_str()
      ->transform(CLI::AsSizeValue(false))
      ->envname("COEL_GPU");
  app.add_option("--card", o.cards,
                 "with --gpu: which, counted from 0; several, such as 0,1: each gives that much, "
                 "and experts lie on all")
      ->capture_default_str()
      ->delimiter(',')
      ->envname("COEL_CARD");
  app.add_option(
         "--kv", o.node.hosting.kv_bytes,
         "KV memory of each model, such as 1GB; 0: one full context, or more while that is cheap")
      ->capture_default_str()
      ->transform(CLI::AsSizeValue(false))
      ->envname("COEL_KV");
  app.add_option("--sessions", o.node.hosting.max_sessions, "requests of a model that run at once")
      ->capture_default_str()
      ->check(CLI::Range(1u, 64u))
      ->envname("COEL_SESSIONS");
  app.add_option("--queue", o.node.hosting.max_queue,
                 "requests of a model that may wait; more are refused as busy")
      ->capture_default_str()
      ->check(CLI::Range(0u, 100000u))
      ->envname("COEL_QUEUE");
  app.add_option("--rows", o.node.hosting.max_rows, "rows of one step")
      ->capture_default_str()
      ->check(CLI::Range(1u, 8192u))
      ->envname("COEL_ROWS");
  app.add_option("--slice", o.node.hosting.slice_rows,
                 "prompt rows of a step in which other requests decode: bounds how long they wait")
      ->capture_default_str()
      ->check(CLI::Range(1u, 8192u))
      ->envname("COEL_SLICE");
  app.add_option("--deadline-ms", o.node.default_deadline_ms, "deadline of requests that name none")
      ->capture_default_str()
      ->check(CLI::Range(1u, 86400000u))
      ->envname("COEL_DEADLINE_MS");
  app.add_option("--drain-ms", o.drain_ms, "how long SIGTERM waits for running requests")
      ->capture_default_str()
      ->envname("COEL_DRAIN_MS");
  app.add_option("--record-routing", o.node.hosting.record_routing,
                 "file that every token's experts are written to (docs/formats.md)")
      ->envname("COEL_RECORD_ROUTING");
  app.add_option("--keys", keys, "key file of this node (coel keygen): CURVE on tcp endpoints")
      ->envname("COEL_KEYS");
  app.add_option("--allow", o.node.server.allowed_clients,
                 "public key of a client that may connect by tcp; several allowed")
      ->envname("COEL_ALLOW");
  app.add_flag("--allow-any", o.node.server.allow_any_client,
               "with --keys: whoever knows this node's public key may connect");
  app.add_option("--cluster", cluster.file,
                 "cluster file (coel-node keygen): this node joins its cluster")
      ->envname("COEL_CLUSTER");
  app.add_option("--name", cluster.name, "this node's name in its cluster (default: the host's)")
      ->envname("COEL_NAME");
  app.add_option(
         "--peer", cluster.peers,
         "host or host:port of a node to look for, for networks without broadcast; several allowed")
      ->envname("COEL_PEER");
  app.add_option("--listen", cluster.listen,
                 "address on which neighbours may connect; several allowed (default: all)")
      ->envname("COEL_LISTEN");
  app.add_option("--link-port", link_port, "port for neighbours, instead of the cluster file's")
      ->envname("COEL_LINK_PORT");
  app.add_option("--hello-port", hello_port,
                 "UDP port of HELLOs, instead of the cluster file's; 0: none are sent")
      ->envname("COEL_HELLO_PORT");
  app.add_option("--join", join,
                 "model of the cluster that this node fetches and serves; several allowed; none: "
                 "no model (default: all)")
      ->envname("COEL_JOIN");
  app.add_option("--models", o.node.join.folder, "folder of fetched models")
      ->capture_default_str()
      ->envname("COEL_MODELS");
  app.add_option("--wire", wire, "activations between nodes: f32, f16 or int8")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "f16", "int8"}))
      ->envname("COEL_WIRE");
  app.add_option("--shape", shape,
                 "who runs what: auto, horizontal (each node a share of every layer's experts), "
                 "layers (whole layers of experts) or stages (layers with attention and KV)")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "horizontal", "layers", "stages"}))
      ->envname("COEL_SHAPE");
  app.add_option("--homing", homing,
                 "in a cluster: auto moves a session to the home that is predicted to answer it "
                 "sooner, off leaves each where it came in")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "off"}))
      ->envname("COEL_HOMING");
  app.add_option("--expert-bias", o.node.hosting.expert_bias,
                 "share of a token's gate probability that may be given up for experts that need "
                 "no further node: faster, and not exact; 0: never")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 0.5))
      ->envname("COEL_EXPERT_BIAS");
  app.add_option("--replica-choice", replica_choice,
                 "which of several nodes that hold an expert runs it: trained, average (latency "
                 "times those under way) or, to compare with, random, two-choices, least-loaded")
      ->capture_default_str()
      ->check(CLI::IsMember({"trained", "average", "random", "two-choices", "least-loaded"}))
      ->envname("COEL_REPLICA_CHOICE");
  app.add_option(
         "--missing-patience-ms", missing_ms,
         "how long a request waits for an expert that no node holds before it fails; 0: not at all")
      ->capture_default_str()
      ->check(CLI::Range(0, 86'400'000))
      ->envname("COEL_MISSING_PATIENCE_MS");
  app.add_flag("--helper", o.node.hosting.helper_only,
               "in a cluster: run experts for the other nodes only, and answer no applications; a "
               "node whose memory has no room for KV does so anyway");
  app.add_option("--state", cluster.state_folder, "folder of this node's keys")
      ->capture_default_str()
      ->envname("COEL_STATE");
  app.add_flag("-q,--quiet", o.quiet, "no progress");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  for (const auto& text : models)
    o.node.models.push_back(parse_model(text));
  if (low_type != "auto")
    o.node.lower.type = dtype_from_name(low_type);
  if (!cluster.file.empty()) {
    cluster.wire = wire == "f32"    ? net::wire_type::f32
                   : wire == "int8" ? net::wire_type::int8
                                    : net::wire_type::f16;
    o.node.hosting.replica_choice = *policy::replica_rule_named(replica_choice);
    cluster.planning.shape = *policy::shape_from_name(shape);
    cluster.homing = homing == "auto";
    if (link_port)
      cluster.link_port = link_port;
    cluster.hello_port = hello_port;
    cluster.missing_patience = std::chrono::milliseconds(missing_ms);
    o.node.join.none = join == std::vector<std::string>{"none"};
    if (!o.node.join.none)
      o.node.join.names = join;
    o.node.cluster = cluster;
  } else if (o.node.hosting.helper_only) {
    std::fprintf(stderr, "coel-node: --helper is for a node of a cluster: give --cluster FILE\n");
    return 2;
  } else if (models.empty()) {
    std::fprintf(stderr, "coel-node: no model: give --model FILE, or --cluster FILE to fetch one "
                         "from a cluster's nodes\n");
    return 2;
  }
  if (!keys.empty()) {
    auto pair = net::read_keys(keys);
    if (!pair) {
      std::fprintf(stderr, "coel-node: %s\n", pair.err().message.c_str());
      return 2;
    }
    o.node.server.keys = *pair;
  }
  return o;
}

} // namespace coel::app
