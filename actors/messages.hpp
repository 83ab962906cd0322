// What actors of one node say to each other. Everything here stays in the process: payloads are
// immutable shared values, or views of step memory whose owner waits for the answer.
#pragma once

#include "common/ids.hpp"
#include "common/node_record.hpp"
#include "common/request.hpp"
#include "common/reservation_message.hpp"
#include "common/result.hpp"
#include "common/stage_message.hpp"
#include "compute/device.hpp"
#include "model/byte_presence.hpp"
#include "model/graph.hpp"
#include "policy/live_plan.hpp"
#include "policy/planner.hpp"
#include "policy/routing_table.hpp"

#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/atom.hpp>
#include <caf/replies_to.hpp>
#include <caf/typed_actor.hpp>
#include <zmq.hpp>

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace coel::actors {

namespace atom {
// CAF 0.17: at most ten characters, and equal text is the same type.
using acquire = caf::atom_constant<caf::atom("acquire")>;
using load = caf::atom_constant<caf::atom("load")>;
using evict = caf::atom_constant<caf::atom("evict")>;
using reserve = caf::atom_constant<caf::atom("reserve")>;
using release = caf::atom_constant<caf::atom("release")>;
using fetch = caf::atom_constant<caf::atom("fetch")>;
using status = caf::atom_constant<caf::atom("status")>;
using details = caf::atom_constant<caf::atom("details")>;
using leave = caf::atom_constant<caf::atom("leave")>;
using step = caf::atom_constant<caf::atom("step")>;
using deadline = caf::atom_constant<caf::atom("deadline")>;
using cancel = caf::atom_constant<caf::atom("cancel")>;
using gone = caf::atom_constant<caf::atom("gone")>;
using drain = caf::atom_constant<caf::atom("drain")>;
using drained = caf::atom_constant<caf::atom("drained")>;
using begin = caf::atom_constant<caf::atom("begin")>;
using append = caf::atom_constant<caf::atom("append")>;
using publish = caf::atom_constant<caf::atom("publish")>;
using give_up = caf::atom_constant<caf::atom("give_up")>;
using frame = caf::atom_constant<caf::atom("frame")>;
using tick = caf::atom_constant<caf::atom("tick")>;
using tell = caf::atom_constant<caf::atom("tell")>;
using heard = caf::atom_constant<caf::atom("heard")>;
using members = caf::atom_constant<caf::atom("members")>;
using expel = caf::atom_constant<caf::atom("expel")>;
using ready = caf::atom_constant<caf::atom("ready")>;
using ensure = caf::atom_constant<caf::atom("ensure")>;
using open = caf::atom_constant<caf::atom("open")>;
using sample = caf::atom_constant<caf::atom("sample")>;
} // namespace atom

struct served_model;

/// What every component answers to `status`.
struct component_status {
  std::string name;  ///< "gate 3"
  std::string model; ///< empty: serves all models
  uint64_t messages = 0;
  uint64_t busy_us = 0; ///< in its own handlers
  uint32_t mailbox = 0; ///< waiting messages
};

/// An expert's answer to `details`.
struct expert_status {
  expert_key key;
  uint64_t rows = 0;     ///< rows run since start
  uint64_t bytes = 0;    ///< resident
  std::string residency; ///< "card", "ram", "ram in q4_0" (only a copy of fewer bits), "ssd" (read
                         ///< when it is asked for), "absent"
  dtype type = dtype::f32;
  uint64_t messages = 0;
  uint64_t busy_us = 0;
  uint32_t mailbox = 0;
};

/// One layer of a model whose experts do not all fit, since the start.
struct layer_tiering {
  uint32_t here = 0;     ///< routed experts in memory
  uint64_t hits = 0;     ///< uses (an expert in a step) that found it in memory,
  uint64_t foreseen = 0; ///< because it had been read ahead,
  uint64_t late = 0;     ///< or on its way for that reason,
  uint64_t misses = 0;   ///< or not at all,
  uint64_t lower = 0;    ///< or ran a copy of fewer bits instead
  bool reads_ahead = true;
  double precision = 0;         ///< of what was read ahead: used
  std::vector<double> recall;   ///< of the predictor, one to three layers ahead
  double recall_of_popular = 0; ///< what guessing the most frequent ones would have had
};

struct tiering_status {
  std::string model;
  uint32_t experts = 0; ///< routed, of all layers
  uint32_t here = 0;
  uint64_t cache_bytes = 0;
  uint64_t cache_used_bytes = 0;
  uint64_t staging_bytes = 0;
  uint64_t tokens = 0; ///< that passed all layers
  uint64_t read_bytes = 0;
  uint64_t read_ahead_bytes = 0; ///< of these
  uint64_t wasted_bytes = 0;     ///< of these: read and never used
  uint64_t failed_reads = 0;
  double disk_bytes_per_s = 0;
  double demand_us = 0;   ///< mean of the last reads that somebody waited for
  std::string lower_type; ///< of copies of fewer bits; empty: no miss is answered by one
  uint64_t lower_copies = 0;
  uint64_t lower_bytes = 0;
  uint64_t lower_rows = 0; ///< of experts, that ran through a copy
  uint64_t rows = 0;       ///< of experts altogether
  double saved_us = 0;     ///< of waiting, by reading ahead, less what reading for nothing cost
  uint64_t predict_us = 0; ///< predicting and learning took
  double token_us = 0;     ///< of a sequence that decodes alone: mean of the last ones
  double compute_us = 0;   ///< of such a token without waiting for experts
  double predicted_token_us = 0; ///< by what is known of disk, routing and computation
  double predicted_hit_rate = 0;
  std::string reader; ///< "io_uring", "threads"
  std::vector<layer_tiering> layers;
};

struct tier_status {
  std::string name; ///< "ram"
  uint64_t budget_bytes = 0;
  uint64_t used_bytes = 0;
  uint64_t weights_bytes = 0;
  uint64_t kv_bytes = 0;
  uint64_t buffer_bytes = 0;
  std::vector<tiering_status> models; ///< those whose experts do not all fit
  bool lost = false;                  ///< the memory is gone with its device
};

/// The right to run an expert: holding it keeps the weights where they are.
struct lease {
  std::shared_ptr<const compute::expert_weights> weights;
};

/// What memory is reserved for; tiers account for each.
enum class memory_kind : uint8_t { weights, kv, buffers };

/// What the lists of a model's steps read and write. Whoever uses it holds it: actors may be gone
/// while a list still runs.
struct step_memory {
  std::shared_ptr<const served_model> model;
  model::step_buffers buffers;
  compute::kv_cache_ptr cache;
};
using step_memory_ptr = std::shared_ptr<const step_memory>;

/// One layer of one step, after attention and routing: the gate sends the rows to their experts.
/// The step's owner leaves the memory untouched until the gate answers.
struct layer_work {
  layer_id layer{};
  uint32_t rows = 0;
  step_memory_ptr memory;
  const model::step_buffers& buffers() const { return memory->buffers; }
};

/// A range of layers for a batch of rows. The owner leaves the memory untouched until the answer.
struct layers_work {
  uint32_t first = 0; ///< layers [first, end); none: the rows are only embedded
  uint32_t end = 0;
  uint32_t rows = 0;
  std::vector<compute::segment> segments; ///< whose rows, and their KV pages
  std::vector<int32_t> tokens; ///< [rows] to be embedded first; empty: the residual holds the rows
  step_memory_ptr memory;
  std::chrono::steady_clock::time_point began; ///< the step, for traces
  std::vector<request_id> sessions; ///< of the rows, for who learns from routing; empty: nobody
};

/// Rows whose logits are wanted, after the last layer.
struct head_work {
  uint32_t rows = 0;            ///< of the residual
  std::vector<uint32_t> chosen; ///< of those; their logits come in this order
  step_memory_ptr memory;
  const model::step_buffers& buffers() const { return memory->buffers; }
};

/// A neighbour's part of one layer, as the gate saw it.
struct remote_hop {
  node_id node{};
  uint32_t at_us = 0;   ///< since the gate began
  uint32_t took_us = 0; ///< until its sum arrived
  uint32_t wait_us = 0; ///< there: until the device began
  uint32_t run_us = 0;  ///< there: on the device
};

/// Where a layer's microseconds went.
struct layer_done {
  result<void> outcome;
  uint32_t local_experts = 0;
  uint64_t dispatch_us = 0; ///< routing until the last lease
  uint64_t run_us = 0;      ///< local experts on the device
  uint64_t network_us = 0;  ///< waiting for neighbours with nothing left to do here
  uint64_t stall_us = 0;    ///< waiting for experts to be read with nothing else to do
  uint64_t alone_us = 0;    ///< predicted for this node without neighbours; 0: not known
  uint64_t wire_bytes = 0;  ///< both ways
  uint32_t repeats = 0;     ///< dispatches sent again after a failure
  uint64_t rows_here = 0;   ///< of experts that were in this node's memory
  uint64_t rows_away = 0;   ///< of experts that neighbours ran
  uint64_t rows_read = 0;   ///< of experts that came from this node's disk
  std::vector<remote_hop> remote;
};

/// Rows for experts of another node: one message per node and layer.
struct remote_dispatch {
  hash256 model{};
  layer_id layer{};
  uint32_t rows = 0; ///< rows of `activations`
  uint32_t hidden = 0;
  std::vector<float> activations;       ///< [rows, hidden]
  std::vector<expert_rows> experts;     ///< rows are of `activations`
  std::chrono::microseconds patience{}; ///< then it fails with deadline
};

/// Rows for a part of another node's output matrix.
struct remote_output {
  hash256 model{};
  uint32_t rows = 0;
  uint32_t hidden = 0;
  uint32_t first = 0; ///< columns [first, end) of the logits
  uint32_t end = 0;
  std::vector<float> activations; ///< [rows, hidden], after the last norm
  std::chrono::microseconds patience{};
};

/// The weighted sum over that node's experts, or its columns of the logits.
struct partial_sum {
  std::vector<float> values; ///< [rows, hidden], or [rows, columns]
  uint32_t wait_us = 0;      ///< there: until the device began
  uint32_t run_us = 0;       ///< there: on the device
  uint64_t wire_bytes = 0;   ///< both ways
};

/// Asks a neighbour for part of a model's file, or for what else net::want_frame names.
struct file_want {
  hash256 model{};
  uint32_t file = 0;
  uint64_t offset = 0;
  uint32_t length = 0;
};

struct file_block {
  uint64_t total = 0; ///< bytes of the file or manifest
  std::vector<std::byte> bytes;
};

/// A frame that a neighbour sent.
using frame_ptr = std::shared_ptr<const zmq::message_t>;
inline std::span<const std::byte> bytes_of(const frame_ptr& f) {
  return {static_cast<const std::byte*>(f->data()), f->size()};
}

/// A frame of somebody to whom no link is known.
struct stranger {
  std::string key;     ///< as the handshake proved it
  std::string address; ///< "10.0.0.7"
  frame_ptr frame;
};

/// What a link tells perception.
struct link_event {
  enum class kind : uint8_t {
    greeting, ///< it greets with `nonce`
    up,       ///< `name` is the neighbour's
    down,     ///< `why`
    record,   ///< the neighbour's record
    drain,    ///< the neighbour asks this node to drain
    reserve,  ///< the neighbour's `reservation`
  };
  uint64_t serial = 0;
  kind what{};
  uint64_t nonce = 0;
  uint64_t boot = 0; ///< up: of the neighbour
  std::string name;
  error why;
  std::shared_ptr<const node_record> record;
  reservation_message reservation;
};

struct link_counts {
  uint64_t frames_out = 0, frames_in = 0;
  uint64_t bytes_out = 0, bytes_in = 0;
  uint64_t dispatches = 0; ///< asked of the neighbour
  uint64_t late = 0;       ///< given up
  uint64_t failed = 0;     ///< answered by an error, or lost with the link
  uint64_t bad_frames = 0;
  uint64_t times_down = 0;
};

struct link_status {
  node_id id{};
  std::string endpoint;
  std::string name;  ///< of the neighbour; empty before it was up
  std::string state; ///< "up", "connecting", ...
  std::string why;   ///< that it is not up
  uint32_t round_trip_us = 0;
  uint32_t variation_us = 0;
  uint64_t goodput_bytes_s = 0; ///< 0: not measured
  uint32_t waiting = 0;         ///< dispatches without an answer yet
  link_counts counts;
};

/// The part of a link that gates and heads use: carries rows to the neighbour and its sum or its
/// logits back. Answers every request, at the latest when its patience ends (deadline) or the link
/// is lost (io).
using link_actor = caf::typed_actor<caf::replies_to<remote_dispatch>::with<partial_sum>,
                                    caf::replies_to<remote_output>::with<partial_sum>>;

/// The part of a link that schedulers and stages use; for this node's own stage, the stage itself.
/// An open is answered by the other side; a run or an answer is true once it is sent.
using stage_link =
    caf::typed_actor<caf::replies_to<stage_open>::with<bool>, caf::reacts_to<stage_close>,
                     caf::replies_to<stage_run>::with<bool>,
                     caf::replies_to<stage_answer>::with<bool>>;

/// Answered by every component.
using component_actor = caf::typed_actor<
    // Counters and mailbox depth.
    caf::replies_to<atom::status>::with<component_status>>;

/// To a client of this node, or to a neighbour whose session is decoded here.
struct app_answer {
  uint64_t client = 0;
  uint64_t id = 0;
  std::shared_ptr<const app_reply> reply;
};

/// A session of this node's that a neighbour is to be the home of. Who sends it gets app_answers
/// with `id`, the last of which is no token: an error where the neighbour or the link fails.
struct guest_order {
  request_id id{};
  std::shared_ptr<const app_request> request;
};

/// LINK: one per neighbour. Owns the connection to it.
using neighbour_actor = component_actor::extend<
    caf::replies_to<remote_dispatch>::with<partial_sum>,
    caf::replies_to<remote_output>::with<partial_sum>,
    // Layers of sessions: see stage_link.
    caf::replies_to<stage_open>::with<bool>, caf::reacts_to<stage_close>,
    caf::replies_to<stage_run>::with<bool>, caf::replies_to<stage_answer>::with<bool>,
    // Part of a model's file; fails with io, deadline or the neighbour's reason.
    caf::replies_to<file_want>::with<file_block>,
    // A session for the neighbour: true, and then its answers. That it is no longer wanted.
    caf::replies_to<guest_order>::with<bool>, caf::reacts_to<atom::cancel, request_id>,
    // INTERNAL: a session of the neighbour's that is decoded here says something.
    caf::reacts_to<app_answer>,
    // This node's record, to be told now and whenever the link comes up.
    caf::reacts_to<atom::tell, std::shared_ptr<const std::vector<std::byte>>>,
    // A word about memory, to be sent if the link is up.
    caf::reacts_to<reservation_message>,
    // The neighbour's number at this node.
    caf::reacts_to<atom::begin, node_id>,
    // Asks the neighbour to drain; true once that is sent, io when it is not connected.
    caf::replies_to<atom::drain>::with<bool>,
    // Says goodbye with a reason and stays silent.
    caf::reacts_to<atom::leave, std::string>,
    // INTERNAL: the neighbour sent this; its last connection is gone; the clock.
    caf::reacts_to<atom::frame, frame_ptr>, caf::reacts_to<atom::gone>, caf::reacts_to<atom::tick>,
    caf::replies_to<atom::details>::with<link_status>>;

/// A node of the cluster as this one knows it.
struct member {
  node_id id{};
  std::string key;
  std::string name;
  std::string endpoint;
  neighbour_actor link;
  bool up = false;
  std::shared_ptr<const node_record> record; ///< null: none has come yet
};
using members_ptr = std::shared_ptr<const std::vector<member>>;

/// Where the experts of a model are and should be, for status.
struct node_placement {
  node_id id{};
  std::string name;
  bool up = false;
  bool complete = false; ///< has all of the model's files
  bool home = false;     ///< answers applications
  bool draining = false;
  uint64_t room = 0;   ///< experts that fit
  bitmap holds;        ///< [layers * experts_per_layer]
  bool helper = false; ///< runs experts for others only
};

/// Memory of this node that is promised to a home for its plan.
struct promised_memory {
  std::string home; ///< its name, or its key
  uint64_t bytes = 0;
};

/// The plan that a node follows, and what it is here.
struct planning_status {
  plan_record plan;               ///< epoch 0: there is none
  std::string planner;            ///< its name; empty: not known
  std::string state;              ///< of planning here: "follows", "plans", "reserves", "holds"
  std::string note;               ///< what came of the last attempt here
  std::vector<std::string> names; ///< of plan.shares
  double token_us = 0;            ///< predicted for this home with what is held now; 0: not yet
  double rounds = 0;
  double bytes = 0;
  uint64_t sessions_sent = 0; ///< to better homes, since the start
  uint64_t expert_bytes = 0;
  uint64_t capacity_bytes = 0;           ///< for experts of all models
  std::vector<promised_memory> promised; ///< of all models
};

struct placement_status {
  std::string model;
  uint32_t layers = 0;
  uint32_t experts_per_layer = 0;
  uint64_t epoch = 0;                ///< of the routing table
  uint32_t uncovered = 0;            ///< experts that no node holds and nobody reads
  uint32_t left = 0;                 ///< experts that no node is to hold: homes read them
  uint64_t pool_bytes = 0;           ///< of this node's memory, for what it reads
  uint32_t loading = 0;              ///< experts on their way to this node
  uint32_t wanted = 0;               ///< that this node should hold and does not yet
  std::vector<node_placement> nodes; ///< this one first
  planning_status planning{};
};

/// What a placer is asked.
struct plan_question {
  policy::placement_problem problem;
  std::optional<policy::expert_map> present; ///< to be priced too
  std::vector<policy::stage> stages;         ///< that sessions pass at present; none: the hub
  bool plan = true;                          ///< false: only priced
};
using plan_question_ptr = std::shared_ptr<const plan_question>;
struct plan_answer {
  std::optional<policy::cluster_plan> plan;
  error why; ///< that there is none
  std::optional<policy::placement_price> present;
};
using plan_answer_ptr = std::shared_ptr<const plan_answer>;

/// Tokens of a home, drawn evenly from all that it routed.
using routing_sample_ptr = std::shared_ptr<const policy::routing_trace>;

/// Routing of a session's first tokens, as its scheduler saw it.
struct session_probe {
  policy::routing_trace routing;
  uint32_t fed = 0;      ///< rows so far
  uint32_t sessions = 0; ///< others of the model that run here
};
using session_probe_ptr = std::shared_ptr<const session_probe>;

/// Asks the updater where that session is best decoded.
struct homing_question {
  hash256 model{};
  session_probe_ptr probe;
  uint32_t answer_tokens = 0; ///< at most, still to come
};
struct home_choice {
  neighbour_actor link; ///< null: here
  std::string name;
};

/// What a placer is asked for that.
struct home_prices_question {
  policy::live_cluster cluster;
  policy::expert_map held;
  session_probe_ptr probe;
};
using home_prices_question_ptr = std::shared_ptr<const home_prices_question>;
using home_prices_ptr = std::shared_ptr<const std::vector<policy::home_price>>; ///< by node

/// The part of a fetcher that experts use.
using expert_source = caf::typed_actor<
    // Answers when every byte of that expert is on disk; first come those that a running request
    // waits for (urgent). Fails with expert_not_here where no neighbour who is up has them, or io.
    caf::replies_to<atom::ensure, expert_key, bool>::with<bool>>;

/// What one neighbour did for a model that is fetched.
struct fetch_peer_status {
  node_id id{};
  std::string name;
  uint64_t bytes = 0; ///< that came and were right
  uint32_t wrong = 0; ///< chunks that were not what their hash says
};

struct fetch_status {
  std::string model;
  uint64_t done_bytes = 0;              ///< of those below
  uint64_t of_bytes = 0;                ///< asked for by now
  bool opened = false;                  ///< what every token needs is here
  std::string trouble;                  ///< empty; or why nothing is written
  std::vector<fetch_peer_status> peers; ///< also those that are gone
};

/// A mirror whose headers and dense part are here.
struct opened_mirror {
  model::source_ptr source;
  model::byte_presence_ptr presence;
};
using opened_mirror_ptr = std::shared_ptr<const opened_mirror>;

/// A node of the way that new sessions take through the layers.
struct stage_place {
  node_id node{};
  std::string key;
  uint32_t first = 0; ///< layers [first, end)
  uint32_t end = 0;
  bool operator==(const stage_place&) const = default;
};
using stage_path = std::vector<stage_place>;

/// Where layers of sessions may run and how to get there; empty where this node is no home.
struct stage_view {
  stage_path path;                     ///< of new sessions of this home; empty: all layers here
  std::map<node_id, stage_link> links; ///< to homes that are up; of this one: its stage
  std::set<node_id> leaving;           ///< of these, those that drain: sessions go elsewhere
  std::map<std::string, node_id> keys; ///< of these
  std::string own_key;
  bool draining = false; ///< this node
};

/// Who holds what and how to get there. Published whole, never changed.
struct route_view {
  policy::routing_table table;
  std::map<node_id, link_actor> links;
  std::set<node_id> helpers{}; ///< of the linked: run experts, but nothing that every token needs
  bool alone = false;          ///< planned: this node runs all that it holds itself
  stage_view stages{};
};
using route_view_ptr = std::shared_ptr<const route_view>;

/// A session asks the scheduler for a place.
struct admission {
  request_id id{};
  std::vector<int32_t> prompt;
  uint32_t max_tokens = 0;
  bool every_row = false; ///< logits of every prompt row, not only the last
  bool probe = false;     ///< the session wants to know the routing of its first tokens
};

/// Logits of one session's rows after a step; valid until the session answers.
struct session_logits {
  request_id id{}; ///< for which they were computed: a session may have asked for a place again
  uint32_t first_position = 0;
  uint32_t rows = 0;
  uint32_t vocab = 0;
  const float* values = nullptr; ///< [rows, vocab]
  step_memory_ptr memory;        ///< that they lie in
};

/// What a session wants next.
struct session_move {
  enum class kind : uint8_t { feed, wait, finish };
  kind what = kind::finish; ///< wait: the prompt is not yet through
  int32_t token = 0;        ///< feed: the row of the next step
};

/// Hops of one token through the node, for `trace`.
struct hop {
  std::string_view actor; ///< "attention", "gate", "experts", "head", "session"
  uint16_t layer = 0;
  uint32_t at_us = 0; ///< since the step began
  uint32_t took_us = 0;
  node_id node{};        ///< whose it is; 0: this one
  uint32_t there_us = 0; ///< of a neighbour's: waiting and running there
};

struct token_trace {
  uint32_t index = 0; ///< step of the request
  uint32_t total_us = 0;
  std::vector<hop> hops;
};

/// What a stage did for others since it started.
struct stage_status {
  uint32_t open = 0; ///< sessions now
  uint64_t sessions = 0;
  uint64_t refused = 0; ///< sessions
  uint64_t runs = 0;
  uint64_t rows = 0;
  uint64_t failed = 0; ///< runs
};

struct session_status {
  request_id id{};
  std::string state; ///< "queued", "prefill", "decode"
  uint32_t prompt_tokens = 0;
  uint32_t answer_tokens = 0;
  uint32_t kv_pages = 0;
  double tokens_per_s = 0;
  uint64_t age_ms = 0;
};

/// What neighbours did for a model's steps, and what they cost. Times are sums over steps.
struct network_totals {
  uint64_t steps = 0;
  uint64_t rows = 0; ///< of those steps
  uint64_t step_us = 0;
  uint64_t experts_us = 0;   ///< from each layer's dispatch until its last sum
  uint64_t waited_us = 0;    ///< of those, with nothing left to do here
  uint64_t alone_us = 0;     ///< what the experts' part would have taken here alone; predicted
  uint64_t rounds = 0;       ///< layers of steps that needed a neighbour
  uint64_t wire_bytes = 0;   ///< both ways
  uint64_t repeats = 0;      ///< dispatches sent again after a failure
  uint64_t hops = 0;         ///< of steps through stages, one way
  uint64_t stage_us = 0;     ///< such steps were away
  uint64_t refused = 0;      ///< sessions that a stage had no room for
  uint64_t moved = 0;        ///< sessions fed anew because a stage of theirs was lost
  uint64_t decode_steps = 0; ///< of one token each, which plans predict
  double decode_us = 0;      ///< of such a step, averaged over the last tens
  double decode_rounds = 0;
  uint64_t stall_us = 0;                                ///< waiting for experts to be read
  uint64_t rows_here = 0, rows_away = 0, rows_read = 0; ///< see layer_done

  /// Adds what layers did; steps, rows and averages of decoding are left.
  network_totals& operator+=(const network_totals& of) {
    experts_us += of.experts_us;
    waited_us += of.waited_us;
    stall_us += of.stall_us;
    rows_here += of.rows_here;
    rows_away += of.rows_away;
    rows_read += of.rows_read;
    alone_us += of.alone_us;
    rounds += of.rounds;
    wire_bytes += of.wire_bytes;
    repeats += of.repeats;
    return *this;
  }
};

/// What became of a range of layers; after a failure some of it may have run.
struct layers_done {
  result<void> outcome;
  std::vector<int32_t> chosen; ///< [layers, rows, top_k] routed experts
  std::vector<hop> hops;
  network_totals network; ///< what these layers add to it
};

struct scheduler_status {
  std::vector<session_status> sessions;
  uint32_t queued = 0;
  uint32_t pages = 0;
  uint32_t pages_used = 0;
  uint32_t page_tokens = 0;
  uint64_t page_bytes = 0;
  uint64_t steps = 0;
  uint64_t tokens_in = 0;
  uint64_t tokens_out = 0;
  uint64_t routed_tokens = 0;
  network_totals network;
  std::vector<std::vector<double>> popularity; ///< [layers][experts], activations per token
};

/// An app's request with the way back to it.
struct app_call {
  uint64_t client = 0;
  uint64_t id = 0;
  std::shared_ptr<const app_request> request;
};

/// Since the node started.
struct app_totals {
  uint64_t requests = 0;
  uint64_t errors = 0;
  bool draining = false;
};

} // namespace coel::actors

#define COEL_LOCAL_MESSAGE(type) CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::type)
COEL_LOCAL_MESSAGE(component_status)
COEL_LOCAL_MESSAGE(expert_status)
COEL_LOCAL_MESSAGE(tiering_status)
COEL_LOCAL_MESSAGE(tier_status)
COEL_LOCAL_MESSAGE(lease)
COEL_LOCAL_MESSAGE(memory_kind)
COEL_LOCAL_MESSAGE(layer_work)
COEL_LOCAL_MESSAGE(layer_done)
COEL_LOCAL_MESSAGE(stage_status)
COEL_LOCAL_MESSAGE(layers_work)
COEL_LOCAL_MESSAGE(layers_done)
COEL_LOCAL_MESSAGE(head_work)
COEL_LOCAL_MESSAGE(remote_dispatch)
COEL_LOCAL_MESSAGE(remote_output)
COEL_LOCAL_MESSAGE(partial_sum)
COEL_LOCAL_MESSAGE(route_view_ptr)
COEL_LOCAL_MESSAGE(file_want)
COEL_LOCAL_MESSAGE(file_block)
COEL_LOCAL_MESSAGE(frame_ptr)
COEL_LOCAL_MESSAGE(stranger)
COEL_LOCAL_MESSAGE(link_event)
COEL_LOCAL_MESSAGE(link_status)
COEL_LOCAL_MESSAGE(members_ptr)
COEL_LOCAL_MESSAGE(fetch_status)
COEL_LOCAL_MESSAGE(opened_mirror_ptr)
COEL_LOCAL_MESSAGE(plan_question_ptr)
COEL_LOCAL_MESSAGE(plan_answer_ptr)
COEL_LOCAL_MESSAGE(routing_sample_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::reservation_message)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::stage_open)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::stage_close)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::stage_run)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::stage_answer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<coel::actors::placement_status>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::shared_ptr<const std::vector<std::byte>>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::shared_ptr<const coel::node_record>)
COEL_LOCAL_MESSAGE(admission)
COEL_LOCAL_MESSAGE(session_logits)
COEL_LOCAL_MESSAGE(session_move)
COEL_LOCAL_MESSAGE(token_trace)
COEL_LOCAL_MESSAGE(scheduler_status)
COEL_LOCAL_MESSAGE(app_call)
COEL_LOCAL_MESSAGE(guest_order)
COEL_LOCAL_MESSAGE(session_probe_ptr)
COEL_LOCAL_MESSAGE(homing_question)
COEL_LOCAL_MESSAGE(home_choice)
COEL_LOCAL_MESSAGE(home_prices_question_ptr)
COEL_LOCAL_MESSAGE(home_prices_ptr)
COEL_LOCAL_MESSAGE(app_answer)
COEL_LOCAL_MESSAGE(app_totals)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::compute::completion_info)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::expert_key)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::request_id)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::error)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<coel::actors::component_status>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<coel::actors::fetch_status>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<coel::actors::expert_status>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<coel::actors::link_status>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<coel::actors::token_trace>)
#undef COEL_LOCAL_MESSAGE
