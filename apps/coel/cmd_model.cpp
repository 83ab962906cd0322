#include "apps/coel/cmd_model.hpp"

#include "apps/coel/forecast.hpp"
#include "apps/coel/forecast_card.hpp"
#include "model/describe.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <thread>

namespace coel::app {

namespace {

/// MemAvailable of /proc/meminfo; 0 where there is none.
uint64_t free_memory_bytes() {
  std::ifstream in("/proc/meminfo");
  for (std::string word; in >> word;)
    if (uint64_t kib = 0; word == "MemAvailable:" && in >> kib)
      return kib * 1024;
  return 0;
}

int fail(const error& e) {
  std::fprintf(stderr, "coel model: %s\n", e.message.c_str());
  return 1;
}

nlohmann::json as_json(const forecast& f) {
  return {{"budget_bytes", f.budget_bytes},
          {"all_fit", f.plan.all_fit},
          {"cache_bytes", f.plan.cache_bytes},
          {"cache_share", f.plan.cache_share},
          {"from_store", f.from_store},
          {"routing_seen", f.routing_seen},
          {"hit_rate", f.speed.hits},
          {"read_bytes_per_token", f.speed.read_bytes_per_token},
          {"disk_bytes_per_s", f.disk_bytes_per_s},
          {"memory_bytes_per_s", f.memory_bytes_per_s},
          {"compute_us", f.compute_us},
          {"stall_us", f.speed.stall_us_per_token},
          {"tokens_per_s", f.speed.tokens_per_s}};
}

} // namespace

int cmd_model(const model_options& o) {
  auto source = model::open_model(o.file);
  if (!source)
    return fail(source.err());
  auto free_bytes = free_memory_bytes();
  auto document = o.json ? model::describe_json(**source, free_bytes) : nlohmann::json{};
  auto text = o.json ? std::string{} : model::describe(**source, free_bytes);
  if (o.gpu_bytes) {
    auto f = card_forecast_of(**source, o.gpu_bytes, o.ram_bytes);
    if (!f)
      return fail(f.err());
    if (o.json)
      document["card_forecast"] = as_json(*f);
    else
      text += text_of(*f);
  } else if (o.ram_bytes) {
    auto threads = o.threads ? o.threads : std::max(1u, std::thread::hardware_concurrency());
    auto f = forecast_of(o.file, *source, o.ram_bytes, threads);
    if (!f)
      return fail(f.err());
    if (o.json)
      document["forecast"] = as_json(*f);
    else
      text += text_of(*f);
  }
  std::fputs((o.json ? document.dump(2) + "\n" : text).c_str(), stdout);
  return 0;
}

} // namespace coel::app
