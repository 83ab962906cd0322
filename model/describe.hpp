// What a model file is, and what running it will take.
#pragma once

#include "model/source.hpp"

#include <nlohmann/json.hpp>

namespace coel::model {

struct running_needs {
  uint64_t dense_bytes = 0;       ///< in the file: everything but the experts
  uint64_t expert_bytes = 0;      ///< in the file: all experts, slices of the shared one included
  uint64_t one_expert_bytes = 0;  ///< the largest routed expert
  uint64_t bytes_per_token = 0;   ///< weights read to decode one token
  uint64_t active_parameters = 0; ///< multiplied per token
  uint64_t kv_bytes_per_token = 0;
  uint64_t kv_bytes_full = 0; ///< one session of full context
};
running_needs needs_of(const source& from);

/// `free_bytes`: memory to judge by; 0 leaves the verdict out.
std::string describe(const source& from, uint64_t free_bytes);
nlohmann::json describe_json(const source& from, uint64_t free_bytes);

} // namespace coel::model
