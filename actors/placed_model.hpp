// One model's experts as the updater keeps them: held, planned, on their way. Indexed by layer *
// experts_per_layer + expert. Nothing here sends a message.
#pragma once

#include "actors/hosted_models.hpp"
#include "actors/meter.hpp"
#include "actors/planning.hpp"
#include "policy/assignment.hpp"

#include <set>

namespace coel::actors {

/// Where the nodes together have no room for all experts (policy/expert_pool).
struct pool_state {
  bool wanted = false;          ///< by the rule, at the last look
  steady::time_point changed{}; ///< when that did
  bool on = false;              ///< the rule is followed: some home reads what no node is to hold
  uint64_t bytes = 0;           ///< of this node's memory
  uint64_t there = 0;           ///< the supplier has
  bool asked = false;           ///< the tier is
  bitmap left;                  ///< as it was told
};

struct placed_model {
  hosted_model hosted;
  uint64_t expert_bytes = 0; ///< of the largest
  uint64_t space = 0;        ///< experts that fit
  uint64_t room = 0;         ///< of those, for the plan
  pool_state pool;           ///< what is left of the memory, for what no node is to hold
  bitmap holds;
  bitmap plan;
  std::map<std::string, bitmap> plans; ///< of the others, by key
  std::set<size_t> loading;
  size_t leaving = 0;                            ///< evicted, their memory not yet returned
  std::map<size_t, steady::time_point> retiring; ///< no longer announced; evicted a little later
  std::map<size_t, steady::time_point> failed;   ///< not tried again before
  std::vector<double> popularity;                ///< here; empty: not asked yet
  std::vector<double> common;                    ///< of the whole cluster
  std::vector<policy::holder> holders;           ///< that the plan was made for
  uint64_t based_on = 0;                         ///< epoch of the plan that was mended
  std::string based_on_planner;
  uint64_t routed_tokens = 0; ///< by this home
  uint32_t sessions = 0;      ///< decoded here, at the last look
  std::map<std::string, std::vector<steady::time_point>> sent_away; ///< sessions, lately, by key
  uint64_t sessions_sent = 0;                                       ///< to other homes
  double tokens_per_s = 0;                                          ///< lately
  uint64_t tokens_seen = 0;                                         ///< at the last look
  steady::time_point tokens_looked{};
  planning planner;
  route_view_ptr view;
  std::map<node_id, bitmap> routed; ///< what the view says
  uint64_t epoch = 0;

  size_t items() const { return holds.size(); }
  expert_key key_of(size_t item) const;
};

/// Holds and plans nothing yet.
placed_model place_model(const hosted_model& hosted);

/// What a member who is up says of the model; null if nothing.
const model_record* record_of(const member& who, const placed_model& m);

bool held_by_others(const std::vector<member>& members, const placed_model& m, size_t item);

/// Something that this node is to hold is nowhere: requests wait for it.
bool lacks(const std::vector<member>& members, const placed_model& m);

/// What others may count on: nothing that retires.
bitmap announced(const placed_model& m);

/// What is asked of a member: of one that drains, only what nobody else holds.
bitmap asked_of(const std::vector<member>& members, const placed_model& m, const member& who,
                const model_record& r);

/// No node is to hold it: homes read it when it is asked for.
bool left_to_disks(const placed_model& m, size_t item);

/// Without it nothing is lost: somebody has it and is to keep it, or homes read it. Where nodes
/// have no spare place, each may be full of what the others wait for: homes that can read what
/// nobody holds do so until it is where it is to be.
bool may_go(const std::vector<member>& members, const placed_model& m, size_t item);

/// Experts that nobody in the routing table holds, but for those.
size_t uncovered(const placed_model& m);

/// Planned, and neither held nor on their way; rising.
std::vector<size_t> wanted(const placed_model& m);

/// How often each is used here, as it is told to others. A slice of the shared expert is used by
/// every token.
std::vector<uint8_t> quantised_use(const placed_model& m);

} // namespace coel::actors
