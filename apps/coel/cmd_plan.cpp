#include "apps/coel/cmd_plan.hpp"

#include "apps/coel/commands.hpp"
#include "apps/coel/plan_file.hpp"
#include "apps/coel/plan_live.hpp"
#include "apps/coel/plan_report.hpp"
#include "model/mapped_file.hpp"
#include "model/random_model_shapes.hpp"
#include "model/source.hpp"
#include "policy/model_figures.hpp"
#include "policy/synthetic_routing.hpp"

#include <cstdio>
#include <iostream>

namespace coel::app {

namespace {

constexpr uint32_t synthetic_sessions = 80, synthetic_tokens = 50; // of each home

int fail(const error& e) {
  std::fprintf(stderr, "coel plan: %s\n", e.message.c_str());
  return e.code == ec::bad_argument ? exit_usage : exit_failed;
}

double bytes_per_weight(dtype type) {
  return static_cast<double>(info(type).block_bytes) / info(type).block_elements;
}

policy::model_figures figures_of(const model::model_config& c, double bytes, uint32_t block,
                                 uint32_t context) {
  return {c.name,
          c.layers,
          c.hidden,
          c.heads,
          c.kv_heads,
          c.head_dim,
          c.experts,
          c.top_k,
          c.expert_ff,
          c.shared_ff,
          c.shared_slices(block),
          c.vocab,
          c.tied_output,
          bytes,
          context};
}

/// A known shape at a type, or a model file as it is.
result<policy::model_figures> figures(const std::string& model, const std::string& type_name,
                                      uint32_t context) {
  if (auto shape = model::shape_by_name(model)) {
    auto type = dtype_from_name(type_name.empty() ? "q4_0" : type_name);
    if (!type)
      return {ec::bad_argument, "no such type: " + type_name};
    auto out = figures_of(*shape, bytes_per_weight(*type), info(*type).block_elements, context);
    out.name = model;
    return out;
  }
  if (!std::filesystem::exists(model))
    return {ec::bad_argument,
            "neither a model file nor one of " + model::known_shapes() + ": " + model};
  auto source = model::open_model(model);
  if (!source)
    return source.err();
  const auto& about = (*source)->info();
  double bytes = static_cast<double>(about.file_bytes) / static_cast<double>(about.parameters);
  return figures_of((*source)->config(), bytes, 32, context);
}

result<policy::routing_trace> recorded(const std::filesystem::path& path) {
  auto file = model::mapped_file::open(path);
  if (!file)
    return file.err();
  auto trace = policy::parse_routing((*file)->bytes());
  if (!trace)
    return error{trace.err().code, path.string() + ": " + trace.err().message};
  if (policy::tokens_by_session(*trace).size() < 2)
    policy::cut_into_sessions(*trace, 256);
  return trace;
}

/// The same recorded tokens for every home, or each home's own synthetic domains.
class routing_maker {
 public:
  routing_maker(const plan_options& o, const policy::model_figures& f) : options_(o), figures_(f) {}

  result<void> fill(plan_inputs& in, const std::vector<double>& tokens_per_s) {
    std::vector<policy::home_trace> fit, held;
    for (uint32_t n = 0, home = 0; n < tokens_per_s.size(); ++n) {
      if (tokens_per_s[n] <= 0)
        continue;
      auto trace = of_home(in, home++);
      if (!trace)
        return trace.err();
      auto halves = policy::split_trace(policy::with_shared_slices(*trace, figures_.slices));
      fit.push_back({n, tokens_per_s[n], std::move(halves.fit)});
      held.push_back({n, tokens_per_s[n], std::move(halves.held_out)});
    }
    auto nodes = static_cast<uint32_t>(tokens_per_s.size());
    in.problem.fit = policy::join_traffic(nodes, fit);
    in.problem.held_out = policy::join_traffic(nodes, held);
    return {};
  }

 private:
  result<policy::routing_trace> of_home(plan_inputs& in, uint32_t home) {
    if (!options_.routing.empty()) {
      auto trace = recorded(options_.routing);
      if (trace)
        in.routing =
            std::to_string(trace->tokens()) + " tokens recorded in " + options_.routing.string();
      return trace;
    }
    auto regime = policy::regime_from_name(options_.regime);
    if (!regime)
      return {ec::bad_argument, "--regime is weak, medium or strong, not " + options_.regime};
    policy::synthetic_routing made({{figures_.layers, figures_.experts, figures_.top_k},
                                    *regime,
                                    8,
                                    options_.skew,
                                    options_.seed});
    char text[160];
    std::snprintf(text, sizeof text,
                  "synthetic, %s, skew %.2f; a real model may differ, record it with "
                  "coel-node --record-routing",
                  options_.regime.c_str(), made.skew());
    in.routing = text;
    std::vector<uint32_t> own(4, home % made.domains()); // a third of its own domain, the rest all
    for (uint32_t d = 0; d < made.domains(); ++d)
      own.push_back(d);
    return made.trace(synthetic_sessions, synthetic_tokens, own, options_.seed + 100 + home);
  }

  const plan_options& options_;
  const policy::model_figures& figures_;
};

result<void> run(const plan_options& o) {
  auto file = read_plan_file(o.nodes);
  if (!file)
    return file.err();
  auto model = o.model.empty() ? file->model : o.model;
  if (model.empty())
    return {ec::bad_argument, "which model? Give --model, or name it in [model]"};
  auto shape = policy::shape_from_name(o.shape);
  if (!shape)
    return {ec::bad_argument, "--shape is auto, horizontal, layers or stages, not " + o.shape};
  auto f = figures(model, o.type.empty() ? file->type : o.type, file->context);
  if (!f)
    return f.err();
  plan_inputs in;
  in.problem.model = policy::demand_of(*f);
  in.problem.nodes = file->nodes;
  for (size_t n = 0; n < in.problem.nodes.size(); ++n)
    in.problem.nodes[n].runs_layers =
        !file->helper[n] && policy::may_be_home(in.problem.nodes[n], in.problem.model);
  in.problem.network = file->network;
  auto& options = in.problem.options;
  options.shape = *shape;
  options.home_by_prompt = o.homing;
  options.prompt_tokens = file->prompt_tokens;
  options.answer_tokens = file->answer_tokens;
  options.sessions = file->sessions;
  options.seed = o.seed;
  if (auto ok = routing_maker(o, *f).fill(in, file->tokens_per_s); !ok)
    return ok;
  auto plan = policy::plan_cluster(in.problem);
  if (!plan)
    return plan.err();
  if (o.as_json)
    std::cout << plan_json(in, *plan).dump(2) << '\n';
  else
    print_plan(in, *plan);
  return {};
}

int ask_live(const plan_options& o) {
  inspect_request ask;
  ask.what = "cluster";
  return ask_node<document_reply>(o.connection, ask, [&](const document_reply& reply) {
    auto cluster = nlohmann::json::parse(reply.json, nullptr, false);
    if (!cluster.is_object()) {
      print_error({ec::bad_frame, "the node's answer is not a JSON object"});
      return exit_failed;
    }
    if (o.as_json)
      std::cout << live_plan_json(cluster, o.model).dump(2) << '\n';
    else
      print_live_plan(cluster, o.model);
    return exit_good;
  });
}

} // namespace

int cmd_plan(const plan_options& options) {
  if (options.nodes.empty())
    return ask_live(options);
  auto ok = run(options);
  return ok ? exit_good : fail(ok.err());
}

void add_plan(CLI::App& app, int& exit) {
  auto options = std::make_shared<plan_options>();
  auto& command = *app.add_subcommand(
      "plan", "How a model is laid over the nodes that run, or would best be over machines");
  command.add_option("--nodes", options->nodes,
                     "TOML file of machines and links, real or not (docs/placement.md); without it "
                     "the plan that a running node follows");
  command.add_option("--model,-m", options->model, "Model file, or the name of a shape");
  command.add_option("--type", options->type, "Type of a shape's weights (q4_0)");
  auto* routing = command.add_option("--routing", options->routing,
                                     "Routing recorded by coel-node --record-routing");
  command.add_option("--regime", options->regime, "Synthetic routing: weak, medium or strong")
      ->capture_default_str()
      ->excludes(routing);
  command
      .add_option("--skew", options->skew,
                  "How unlike experts' popularity is, standard deviation in logits")
      ->check(CLI::Range(0.0, 10.0))
      ->excludes(routing);
  command.add_option("--shape", options->shape, "auto, horizontal, layers or stages")
      ->capture_default_str();
  command.add_flag("--homing", options->homing, "Sessions go to the home that has their experts");
  command.add_option("--seed", options->seed, "Of the search and of synthetic routing")
      ->capture_default_str();
  command.add_flag("--json", options->as_json, "Print JSON");
  add_connection_options(command, options->connection);
  command.callback([options, &exit] { exit = cmd_plan(*options); });
}

} // namespace coel::app
