// SCHEDULER actor: the running batches of one model (see interfaces.hpp).
//
// A session's layers run here, experts where they are (the hub), or, if the plan has stages, each
// range of layers at the node that was planned for it. A step needs this node's memory while it is
// embedded, while layers of this node run and while tokens are drawn; away at stages it needs none,
// so other steps begin meanwhile.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/served_model.hpp"
#include "policy/admission.hpp"
#include "policy/batching.hpp"
#include "policy/kv_pages.hpp"
#include "policy/routing_stats.hpp"

#include <deque>
#include <optional>

namespace coel::actors {

/// Rows of a step through stages, whose memory at neighbours is for so many.
inline constexpr uint32_t most_stage_rows = 128;

struct scheduler_config {
  served_model_ptr model;
  runner_actor runner;
  head_actor head;
  step_memory_ptr memory;
  policy::batching_limits batching;
  policy::admission_limits admission;
  recorder_actor recorder; ///< null: routing is not recorded
  /// A run through stages that takes longer is lost; a link that is silent says so much sooner.
  std::chrono::milliseconds stage_patience{20'000};
};

using stage_path_ptr = std::shared_ptr<const stage_path>;

/// A step that is under way.
struct scheduler_step {
  struct share {
    request_id id{};
    uint64_t life = 0; ///< of the session: a step of an earlier one is not its any more
    uint32_t position = 0;
    uint32_t rows = 0;
    uint32_t wanted = 0; ///< of its last rows: their logits
  };
  uint64_t number = 0;
  std::vector<share> shares;
  stage_path_ptr path; ///< null: all layers here
  std::vector<compute::segment> segments;
  std::vector<uint32_t> logit_rows; ///< of its rows; once back from stages, of those that came
  uint32_t rows = 0;
  uint32_t rounds = 0; ///< layers that needed a neighbour
  uint32_t answers_due = 0;
  steady::time_point began;
  steady::time_point dispatched; ///< to the head
  steady::time_point away{};     ///< since when it is at stages
  uint64_t layers_us = 0;        ///< of its time: in layers, here and at stages
  std::vector<int32_t> chosen;   ///< [layers run here, rows, top_k]
  std::vector<float> returned;   ///< residual of its logit_rows
  std::vector<hop> hops;
};

struct scheduler_state {
  static inline const char* name = "scheduler";

  /// A session with its KV pages.
  struct running {
    request_id id{};
    session_actor actor;
    std::vector<int32_t> tokens; ///< prompt and answer so far
    std::vector<uint32_t> pages;
    uint32_t prompt_tokens = 0;
    uint32_t max_tokens = 0; ///< prompt and answer
    uint32_t fed = 0;        ///< of the tokens
    uint32_t prefill = 0;    ///< of the tokens, fed as a prompt is
    uint32_t scored = 0;     ///< rows whose logits were given, where every row's are wanted
    uint32_t slices = 0;
    bool every_row = false;
    bool leaving = false;
    std::shared_ptr<session_probe> probe; ///< collects the routing of its first tokens
    bool anew = false;                    ///< all tokens are to be fed again
    uint64_t life = 0;                    ///< rises when it is fed anew
    stage_path_ptr path;                  ///< null: all layers here
    uint64_t at_stages = 0;               ///< its number there
    uint32_t opening = 0;                 ///< stages that have not answered yet
    bool refused = false;                 ///< by one of them
    uint32_t slice_rows = 0;
    steady::time_point began;
    std::deque<token_trace> traces; ///< of the last steps
  };

  struct waiting {
    admission ask;
    session_actor actor;
    steady::time_point since;
  };

  scheduler_config config;
  std::optional<policy::kv_pages> pages;
  std::optional<policy::routing_stats> stats;
  std::vector<running> sessions; ///< in order of admission
  std::deque<waiting> queue;
  std::map<uint64_t, scheduler_step> under_way; ///< by number
  std::optional<uint64_t> here;                 ///< the step that has this node's memory
  std::deque<uint64_t> back;                    ///< steps that came back, to be given logits
  const stage_path* last_path = nullptr;        ///< of the step that began last
  uint64_t next_step = 0;
  uint64_t next_at_stages = 0;
  route_view_ptr view;    ///< null: this node stands alone
  stage_path_ptr path;    ///< of new sessions
  std::string stage_note; ///< why a session did not get or keep its stages
  bool ticking = false;
  std::deque<std::pair<request_id, std::vector<token_trace>>>
      ended; ///< traces of the last requests
  uint64_t steps = 0;
  uint64_t tokens_in = 0;
  uint64_t tokens_out = 0;
  network_totals network;
  meter cost;
};

scheduler_actor::behavior_type scheduler(scheduler_actor::stateful_pointer<scheduler_state> self,
                                         scheduler_config config);

} // namespace coel::actors
