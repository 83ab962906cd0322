// SESSION actor: one generate or score request (see interfaces.hpp).
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/served_model.hpp"
#include "model/sampler.hpp"
#include "model/text_stream.hpp"

#include <optional>

namespace coel::actors {

/// Where a session's answers go.
using answer_sink = caf::typed_actor<caf::reacts_to<app_answer>>;

struct session_config {
  request_id id{};
  app_call call; ///< a generate_request or a score_request
  served_model_ptr model;
  scheduler_actor scheduler;
  answer_sink answers;
  uint32_t default_deadline_ms = 600'000;
};

struct session_state {
  static inline const char* name = "session";
  session_config config;
  std::vector<int32_t> tokens; ///< prompt and answer
  uint32_t prompt_tokens = 0;
  uint32_t given_tokens = 0; ///< prompt, and what another node has answered
  uint32_t max_tokens = 0;
  uint64_t seed = 0;
  std::optional<model::sampler> sampler;
  std::optional<model::text_stream> text;
  std::vector<float> scores; ///< of a score_request
  steady::time_point arrived, admitted, first_token;
  bool ended = false;
  meter cost;
};

session_actor::behavior_type session(session_actor::stateful_pointer<session_state> self,
                                     session_config config);

} // namespace coel::actors
