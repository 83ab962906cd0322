// SESSION actor: one generate or score request (see interfaces.hpp).
#pragma once

#include "actors/hosted_models.hpp"
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
  hosted_models_ptr models; ///< numbers sessions
  app_call call;            ///< a generate_request or a score_request
  served_model_ptr model;
  scheduler_actor scheduler;
  answer_sink answers;
  updater_actor homes{}; ///< knows who is a better home; null: it stays here
  uint32_t default_deadline_ms = 600'000;
};

struct session_state {
  static inline const char* name = "session";
  session_config config;
  request_id id{};             ///< at the scheduler
  neighbour_actor away{};      ///< where its home is; null: here
  std::vector<int32_t> tokens; ///< prompt and answer
  uint32_t prompt_tokens = 0;
  uint32_t given_tokens = 0; ///< prompt, and what was answered before it was admitted here
  uint32_t max_tokens = 0;   ///< beyond those
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

// For the parts of the actor (session_away):

using session_ptr = session_actor::stateful_pointer<session_state>;

/// Asks this node's scheduler to take the session, with all its tokens.
void ask_for_place(session_ptr self);
/// One more token of the answer: tells it, and whether that was the last.
session_move take_token(session_ptr self, model::sampled drawn);
/// The last reply.
void finish(session_ptr self, finish_reason reason);

} // namespace coel::actors
