// A device's own memory in the documents of an inspector.
#pragma once

#include "actors/near_memory.hpp"
#include "compute/device.hpp"

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <vector>

namespace coel::actors {

/// Of one model's routed experts.
struct near_facts {
  std::string model;
  uint64_t of = 0; ///< experts
  near_memory::totals now;
  uint64_t brought = 0, given_up = 0, refused = 0; ///< since start
  uint64_t whole_steps = 0;                        ///< that ran as one list
};

struct card_facts {
  compute::own_memory_status device;
  std::vector<near_facts> models;
};

/// Nothing where the models' device has no memory of its own.
std::optional<card_facts> card_facts_of(const std::vector<served_model_ptr>& models);

nlohmann::json card_json(const card_facts& card, double uptime_s);

/// Lines of metrics: name, kind, help, label (may be empty), value.
struct card_metric {
  const char* name;
  const char* kind;
  const char* help;
  std::string model; ///< empty: of the card
  double value = 0;
};
std::vector<card_metric> card_metrics(const card_facts& card);

} // namespace coel::actors
