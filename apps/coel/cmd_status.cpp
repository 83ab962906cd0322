#include "apps/coel/cmd_status_cluster.hpp"
#include "apps/coel/commands.hpp"
#include "apps/coel/connection.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <iostream>

namespace coel::app {

namespace {

using json = nlohmann::json;

struct status_options {
  connection_options connection;
  bool as_json = false;
};

std::string bytes_text(uint64_t bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit)
    value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

std::string duration_text(uint64_t s) {
  char text[48];
  std::snprintf(text, sizeof text, "%llu:%02u:%02u", static_cast<unsigned long long>(s / 3600),
                static_cast<unsigned>(s / 60 % 60), static_cast<unsigned>(s % 60));
  return text;
}

// The node is not trusted to answer in the right shape: absent or odd fields show as 0 or "?".
uint64_t number(const json& in, const char* name) {
  auto found = in.find(name);
  return found != in.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

std::string text(const json& in, const char* name) {
  auto found = in.find(name);
  return found != in.end() && found->is_string() ? found->get<std::string>() : "?";
}

json part(const json& in, const char* name, json::value_t kind) {
  auto found = in.find(name);
  return found != in.end() && found->type() == kind ? *found : json(kind);
}

void print_node(const json& node) {
  auto draining = node.find("draining");
  bool drains = draining != node.end() && draining->is_boolean() && draining->get<bool>();
  std::printf("node %s, up %s, device %s, %llu threads%s\n", text(node, "version").c_str(),
              duration_text(number(node, "uptime_s")).c_str(), text(node, "device").c_str(),
              static_cast<unsigned long long>(number(node, "threads")), drains ? ", draining" : "");
}

void print_models(const json& models) {
  std::printf("\n%-24s %-10s %6s %12s %8s %10s %16s %8s %6s\n", "MODEL", "FAMILY", "LAYERS",
              "EXPERTS", "CONTEXT", "WEIGHTS", "KV PAGES", "SESSIONS", "QUEUED");
  for (const auto& model : models) {
    auto kv = part(model, "kv", json::value_t::object);
    auto experts =
        std::to_string(number(model, "top_k")) + " of " + std::to_string(number(model, "experts"));
    auto pages =
        std::to_string(number(kv, "pages_used")) + " of " + std::to_string(number(kv, "pages"));
    std::printf("%-24s %-10s %6llu %12s %8llu %10s %16s %8llu %6llu\n", text(model, "name").c_str(),
                text(model, "family").c_str(),
                static_cast<unsigned long long>(number(model, "layers")), experts.c_str(),
                static_cast<unsigned long long>(number(model, "context")),
                bytes_text(number(model, "bytes")).c_str(), pages.c_str(),
                static_cast<unsigned long long>(number(model, "sessions")),
                static_cast<unsigned long long>(number(model, "queued")));
    if (text(model, "role") == "helper")
      std::printf("  runs experts for others only: %s\n", text(model, "why").c_str());
  }
}

void print_memory(const json& tiers) {
  std::printf("\n%-8s %12s %12s %12s %12s %12s\n", "MEMORY", "BUDGET", "USED", "WEIGHTS", "KV",
              "BUFFERS");
  for (const auto& tier : tiers)
    std::printf("%-8s %12s %12s %12s %12s %12s\n", text(tier, "tier").c_str(),
                number(tier, "budget_bytes") ? bytes_text(number(tier, "budget_bytes")).c_str()
                                             : "none",
                bytes_text(number(tier, "used_bytes")).c_str(),
                bytes_text(number(tier, "weights_bytes")).c_str(),
                bytes_text(number(tier, "kv_bytes")).c_str(),
                bytes_text(number(tier, "buffer_bytes")).c_str());
}

double real(const json& in, const char* name) {
  auto found = in.find(name);
  return found != in.end() && found->is_number() ? found->get<double>() : 0;
}

/// A model of which a part is on disk: what that costs, and what was expected.
void print_tiering(const json& m) {
  auto decode = part(m, "decode", json::value_t::object);
  auto predictor = part(m, "predictor", json::value_t::object);
  std::printf(
      "\n%s: %llu of %llu experts in memory; %.1f %% of uses found theirs; a token read %s; "
      "disk %s/s by %s\n",
      text(m, "model").c_str(), static_cast<unsigned long long>(number(m, "here")),
      static_cast<unsigned long long>(number(m, "experts")), 100 * real(m, "hit_rate"),
      bytes_text(static_cast<uint64_t>(real(m, "read_bytes_per_token"))).c_str(),
      bytes_text(static_cast<uint64_t>(real(m, "disk_bytes_per_s"))).c_str(),
      text(m, "reader").c_str());
  auto us = real(decode, "token_us"), predicted = real(decode, "predicted_token_us");
  if (us > 0) {
    std::printf("  decodes %.2f tokens/s alone", 1e6 / us);
    if (predicted > 0) // in a cluster its plan predicts
      std::printf(", predicted %.2f", 1e6 / predicted);
    std::printf("; %.1f ms of %.1f ms a token wait for the disk\n",
                (us - real(decode, "compute_us")) / 1e3, us / 1e3);
  }
  if (auto lower = part(m, "lower_precision", json::value_t::object); !lower.empty())
    std::printf(
        "  %.1f %% of uses ran a copy in %s instead of waiting (%.1f %% of rows; %llu copies, "
        "%s): answers differ from the model's own\n",
        100 * real(lower, "share"), text(lower, "type").c_str(), 100 * real(lower, "row_share"),
        static_cast<unsigned long long>(number(lower, "copies")),
        bytes_text(number(lower, "bytes")).c_str());
  std::printf(
      "  predictor: on in %llu layers, %.0f %% of what it read ahead was used, saved %.1f s, "
      "took %.1f s; recall",
      static_cast<unsigned long long>(number(predictor, "layers_on")),
      100 * real(predictor, "precision"), real(predictor, "saved_us") / 1e6,
      real(predictor, "predict_us") / 1e6);
  for (const auto& r : part(predictor, "recall", json::value_t::array))
    if (r.is_number())
      std::printf(" %.2f", r.get<double>());
  std::printf(" (of popular ones %.2f)\n", real(predictor, "recall_of_popular"));
}

/// What lies on the card, how busy it is, and what runs beside it.
void print_card(const json& c) {
  auto share = [&](const char* name) { return 100 * real(c, name); };
  auto rate = [&](const char* name) { return bytes_text(static_cast<uint64_t>(real(c, name))); };
  std::printf("\n%s: %s of %s used; busy %.0f %%, bus %.0f %%; %s loaded at %s/s (bus %s/s)\n",
              text(c, "name").c_str(), bytes_text(number(c, "used_bytes")).c_str(),
              bytes_text(number(c, "budget_bytes")).c_str(), share("busy_share"),
              share("bus_share"), bytes_text(number(c, "loaded_bytes")).c_str(),
              rate("load_bytes_per_s").c_str(), rate("bus_bytes_per_s").c_str());
  std::printf("  %llu experts ran beside it in %.1f s, %llu were copied over for a step\n",
              static_cast<unsigned long long>(number(c, "beside_experts")),
              real(c, "beside_us") / 1e6,
              static_cast<unsigned long long>(number(c, "copied_experts")));
  if (auto lost = c.find("lost"); lost != c.end() && lost->is_boolean() && lost->get<bool>())
    std::printf("  the card is LOST: restart the node to use it again\n");
  for (const auto& m : part(c, "models", json::value_t::array))
    if (m.is_object())
      std::printf("  %s: %llu of %llu experts on it (%s), found there by %.1f %% of rows; "
                  "%llu brought, %llu sent back\n",
                  text(m, "model").c_str(), static_cast<unsigned long long>(number(m, "here")),
                  static_cast<unsigned long long>(number(m, "experts")),
                  bytes_text(number(m, "bytes")).c_str(), 100 * real(m, "hit_rate"),
                  static_cast<unsigned long long>(number(m, "brought")),
                  static_cast<unsigned long long>(number(m, "given_up")));
}

void print_totals(const json& totals) {
  std::printf("\nrequests %llu, tokens in %llu, tokens out %llu, errors %llu\n",
              static_cast<unsigned long long>(number(totals, "requests")),
              static_cast<unsigned long long>(number(totals, "tokens_in")),
              static_cast<unsigned long long>(number(totals, "tokens_out")),
              static_cast<unsigned long long>(number(totals, "errors")));
}

int print(const document_reply& reply, bool as_json) {
  auto status = json::parse(reply.json, nullptr, false);
  if (!status.is_object()) {
    print_error({ec::bad_frame, "the node's status is not a JSON object"});
    return exit_failed;
  }
  if (as_json) {
    std::cout << status.dump(2) << '\n';
    return exit_good;
  }
  print_node(part(status, "node", json::value_t::object));
  print_models(part(status, "models", json::value_t::array));
  auto memory = part(status, "memory", json::value_t::array);
  print_memory(memory);
  for (const auto& tier : memory)
    if (tier.is_object())
      for (const auto& m : part(tier, "models", json::value_t::array))
        if (m.is_object())
          print_tiering(m);
  if (auto card = part(status, "card", json::value_t::object); !card.empty())
    print_card(card);
  if (auto cluster = part(status, "cluster", json::value_t::object); !cluster.empty())
    print_cluster(cluster);
  print_totals(part(status, "totals", json::value_t::object));
  return exit_good;
}

} // namespace

void add_status(CLI::App& app, int& exit) {
  auto options = std::make_shared<status_options>();
  auto& command = *app.add_subcommand("status", "What the node runs and how full it is");
  command.add_flag("--json", options->as_json, "Print JSON");
  add_connection_options(command, options->connection);
  command.callback([options, &exit] {
    exit = ask_node<document_reply>(
        options->connection, inspect_request{},
        [&](const document_reply& reply) { return print(reply, options->as_json); });
  });
}

} // namespace coel::app
