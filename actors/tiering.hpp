// What a node does with a model whose experts do not all fit its memory: shared by tier, gates and
// experts.
#pragma once

#include "actors/served_model.hpp"
#include "actors/tier_messages.hpp"
#include "model/disk_reader.hpp"
#include "model/expert_files.hpp"
#include "policy/memory_budget.hpp"

namespace coel::actors {

/// The same for all actors of the model; does not change once they run.
struct tiering {
  memory_needs needs;
  policy::memory_plan plan;
  model::expert_files files;
  std::filesystem::path state_file; ///< of the predictor; empty: it is not kept
  caf::strong_actor_ptr tier;       ///< whose memory it is
  model::disk_reader::make_engine engine = model::make_read_engine;
};

} // namespace coel::actors
