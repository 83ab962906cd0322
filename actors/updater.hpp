// UPDATER actor: what this node holds and should hold (see interfaces.hpp).
//
// Nodes announce what they have, plan what they should have, and route by what is announced. Every
// node computes the same plan from the same records, so nobody has to be asked; while records
// differ, plans do, and nothing is given up before somebody else says that he holds it.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/placed_model.hpp"
#include "actors/planning.hpp"
#include "policy/perception.hpp"

namespace coel::actors {

struct updater_config {
  hosted_models_ptr models;
  tier_actor ram;
  tier_actor card;        ///< none: the device has no memory of its own
  uint64_t ram_bytes = 0; ///< budget; 0: what the machine has free at the start
  perception_actor perception;
  std::string key; ///< this node's public key
  std::string name;
  std::vector<std::string> app_endpoints;
  std::function<model_record(const served_model&)> files; ///< complete and chunks of a model
  std::function<void(const policy::node_load&)> load;     ///< tells HELLO what is left here
  uint32_t loads_at_once = 4;
  planning_options planning{};
};

struct updater_state {
  static inline const char* name = "updater";

  updater_config config;
  members_ptr members = std::make_shared<const std::vector<member>>();
  std::map<std::string, placed_model> models; ///< by name
  node_record told;                           ///< the record as it was told last
  placer_actor placer;
  policy::reservation_book promised{0}; ///< this node's memory, to homes for their plans
  tier_status ram;
  tier_status card;           ///< of no budget where there is none
  uint64_t expert_memory = 0; ///< bytes of both budgets, for experts of all models
  bool draining = false;
  std::vector<caf::typed_response_promise<bool>> waiting; ///< for ready
  uint64_t ticks = 0;
  uint64_t busy_us = 0; ///< of the device, at the last look
  steady::time_point looked = steady::now();
  meter cost;
};

updater_actor::behavior_type updater(updater_actor::stateful_pointer<updater_state> self,
                                     updater_config config);

} // namespace coel::actors
