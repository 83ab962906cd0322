// Every actor's interface: the table of contents of a node. Who answers what, and what it means.
// Failures come as caf::error made by to_caf (errors.hpp), so the code and sentence survive.
//
// Requests inside a node carry no timeout on purpose: an actor that dies bounces its requests, one
// that waits (an expert for its tier) answers when it is through, and a timer per request would
// wake the clock's thread eight times a layer. Requests that leave the node always carry one.
#pragma once

#include "actors/messages.hpp"
#include "actors/served_model.hpp"
#include "actors/tier_messages.hpp"

#include <caf/replies_to.hpp>
#include <caf/typed_actor.hpp>

#include <map>
#include <memory>
#include <string>

namespace coel::actors {

/// TIER: one per kind of memory. Owns a byte budget and the transfers into it.
using tier_actor = component_actor::extend<
    // Takes bytes from the budget, or fails with out_of_memory and what is missing.
    caf::replies_to<atom::reserve, memory_kind, uint64_t>::with<bool>,
    // Gives bytes back.
    caf::reacts_to<atom::release, memory_kind, uint64_t>,
    // Brings an expert into this memory; concurrent up to the number of loaders.
    caf::replies_to<atom::fetch, served_model_ptr, expert_key>::with<lease>,
    // Sets so much aside for a model of which not all experts fit, spawns its supplier and has it
    // fill that; answers with the bytes that are there.
    caf::replies_to<atom::load, served_model_ptr>::with<uint64_t>,
    // The same in a cluster, of what no node holds: spawns the supplier at the first time. Answers
    // with the bytes that the pool then has, once it has no more.
    caf::replies_to<pool_order>::with<uint64_t>,
    // Budget and use.
    caf::replies_to<atom::details>::with<tier_status>>;

/// LOADER: reads and repacks one expert at a time for a tier, on a thread of its own.
using loader_actor =
    caf::typed_actor<caf::replies_to<atom::fetch, served_model_ptr, expert_key>::with<lease>>;

/// The same for a supplier, of matrices that have been read.
using piece_loader_actor = caf::typed_actor<caf::replies_to<piece_packing>::with<packed_piece>>;

/// SUPPLIER: one per model of which not all experts fit: reads, keeps and lends them, within the
/// memory that its tier has set aside.
using supplier_actor = component_actor::extend<
    // From a gate, which gets experts_lent for it.
    caf::reacts_to<expert_claim>, caf::reacts_to<experts_ran>,
    // Some experts of a layer may be read ahead.
    caf::reacts_to<layer_forecast>,
    // Fills its memory; answers with the bytes that are there.
    caf::replies_to<atom::load>::with<uint64_t>,
    // Of a cluster's: its memory changes; answers once it has no more.
    caf::replies_to<pool_order>::with<uint64_t>,
    // INTERNAL: a matrix has been read; nobody has the expert's memory any more; whether to rest.
    caf::reacts_to<piece_arrived>, caf::reacts_to<atom::release, expert_key>,
    caf::reacts_to<atom::tick>, caf::replies_to<atom::details>::with<tiering_status>>;

/// COPY MAKER: of such a model, where the user allows copies of fewer bits; on its own thread.
using copy_maker_actor = component_actor::extend<
    // INTERNAL: looks what is missed most.
    caf::reacts_to<atom::tick>,
    // INTERNAL: a matrix has been read; nobody has the copy's memory any more.
    caf::reacts_to<piece_arrived>, caf::reacts_to<atom::release, expert_key>>;

/// FORESEER: of such a model; learns what is chosen and foresees what will be; see foreseer.hpp.
using foreseer_actor =
    component_actor::extend<caf::reacts_to<layer_routed>,
                            // What it looks ahead by from now on; none: it rests.
                            caf::replies_to<routers_ptr>::with<bool>,
                            // INTERNAL: what was learnt is kept.
                            caf::reacts_to<atom::tick>,
                            caf::replies_to<atom::details>::with<predictor_status>>;

/// EXPERT: one per (model, layer, expert) hosted here. Owns the right to run it: residency,
/// version, statistics. The arithmetic runs on a device under the lease it grants.
using expert_actor = component_actor::extend<
    // Grants a lease to run that many rows; loads the expert first if it is not resident.
    caf::replies_to<atom::acquire, uint32_t>::with<lease>,
    // Makes it resident; answers with its bytes.
    caf::replies_to<atom::load>::with<uint64_t>,
    // Brings it into the device's own memory (true) or back to the node's; whoever has it on lease
    // keeps the old one. Answers with its bytes there; fails with out_of_memory, and then it stays.
    caf::replies_to<atom::load, bool>::with<uint64_t>,
    // Gives its memory up once the leases in use are over; answers with its bytes.
    caf::replies_to<atom::evict>::with<uint64_t>,
    caf::replies_to<atom::details>::with<expert_status>>;

/// KEEPER: one per model on a node whose device has memory of its own. Decides which routed experts
/// lie there and has them brought, while requests run.
using keeper_actor = component_actor::extend<
    // Fills that memory; answers with the bytes of experts there.
    caf::replies_to<atom::load>::with<uint64_t>,
    // INTERNAL: the clock.
    caf::reacts_to<atom::tick>>;

/// GATE: one per layer of a model. Sends a routed batch's rows to where the routing table says
/// their experts are, and adds up what comes back. One batch at a time, others wait for it.
using gate_actor =
    component_actor::extend<caf::replies_to<layer_work>::with<layer_done>,
                            // From now on experts are where this says; a batch under way keeps to
                            // its own unless it must send something again.
                            caf::reacts_to<atom::publish, route_view_ptr>,
                            // INTERNAL: rows of that batch have waited long enough for an expert
                            // that nobody holds.
                            caf::reacts_to<atom::give_up, uint64_t>,
                            // From a supplier: the next of what was claimed, or why not.
                            caf::reacts_to<experts_lent>,
                            // INTERNAL: the device ran the local experts.
                            caf::reacts_to<atom::step, compute::completion_info>,
                            // Experts of this layer hosted here.
                            caf::replies_to<atom::details>::with<std::vector<expert_status>>>;

/// RUNNER: one for the steps of a model. Runs a range of layers for a batch of rows: attention and
/// router on the device, then the layer's gate. One batch at a time.
using runner_actor = component_actor::extend<caf::replies_to<layers_work>::with<layers_done>,
                                             // INTERNAL: the device ran an attention.
                                             caf::reacts_to<atom::step, compute::completion_info>>;

/// HEAD: one per model. Logits of a step's rows; gives columns of the output matrix to neighbours
/// where that is predicted to end sooner. One batch at a time.
using head_actor = component_actor::extend<caf::replies_to<head_work>::with<layer_done>,
                                           caf::reacts_to<atom::publish, route_view_ptr>,
                                           // INTERNAL: the device is through.
                                           caf::reacts_to<atom::step, compute::completion_info>>;

/// HELPER: one per model. Runs rows that neighbours send through experts hosted here, or through
/// the output matrix. Refuses with unknown_model, bad_frame, helper_only (no output matrix here) or
/// busy; fails with bad_file where what it computed is not finite.
using helper_actor =
    component_actor::extend<caf::replies_to<remote_dispatch>::with<partial_sum>,
                            caf::replies_to<remote_output>::with<partial_sum>,
                            // INTERNAL: the device ran that job.
                            caf::reacts_to<atom::step, uint64_t, compute::completion_info>>;

/// SESSION: one per generate or score request. Owns its tokens, sampling, stream and deadline.
using session_actor = component_actor::extend<
    // The scheduler admitted it: the steps begin.
    caf::reacts_to<atom::begin>,
    // Logits of its rows; answers what it wants next.
    caf::replies_to<session_logits>::with<session_move>,
    // How its first tokens were routed, if it asked for that.
    caf::reacts_to<session_probe_ptr>,
    // What the home says that it has moved to.
    caf::reacts_to<app_answer>,
    // The scheduler lost it (device failure): the request fails with this error.
    caf::reacts_to<error>,
    // The app cancels, the client vanished, or the deadline passed.
    caf::reacts_to<atom::cancel>, caf::reacts_to<atom::gone>, caf::reacts_to<atom::deadline>>;

/// SCHEDULER: one per model on a node. Owns the running batches and the KV budget.
using scheduler_actor = component_actor::extend<
    // Queues a session. Fails with busy, too_long or shutting_down.
    caf::replies_to<admission, session_actor>::with<bool>,
    // The session wants no more steps; its KV pages return when no step uses them.
    caf::reacts_to<atom::leave, request_id>, caf::replies_to<atom::details>::with<scheduler_status>,
    // Some of the tokens that it routed, for plans.
    caf::replies_to<atom::sample>::with<routing_sample_ptr>,
    // The last steps of a request.
    caf::replies_to<atom::details, request_id>::with<std::vector<token_trace>>,
    // The way of sessions from now on; those under way keep theirs as long as its nodes are there.
    caf::reacts_to<atom::publish, route_view_ptr>,
    // KV pages for a neighbour's session, whole or not at all (busy); and back.
    caf::replies_to<atom::reserve, uint32_t>::with<std::vector<uint32_t>>,
    caf::reacts_to<atom::release, std::vector<uint32_t>>,
    // The end of a run that this home sent through stages.
    caf::reacts_to<stage_answer>,
    // INTERNAL: the clock, while runs are away.
    caf::reacts_to<atom::tick>>;

/// STAGE: one per model on a home in a cluster. Runs contiguous layers of neighbours' sessions with
/// KV pages of this node, and sends the rows on. Refuses with unknown_model, bad_argument,
/// too_long, busy or shutting_down; what fails later is told to the session's home.
using stage_actor = component_actor::extend<
    // As for a neighbour, from this node's own home; an answer is handed to its scheduler.
    caf::replies_to<stage_open>::with<bool>, caf::reacts_to<stage_close>,
    caf::replies_to<stage_run>::with<bool>, caf::replies_to<stage_answer>::with<bool>,
    // From the link of that neighbour.
    caf::replies_to<node_id, stage_open>::with<bool>, caf::reacts_to<node_id, stage_close>,
    // Who is there; what homes that are gone had here is free.
    caf::reacts_to<atom::publish, route_view_ptr>,
    // INTERNAL: the clock.
    caf::reacts_to<atom::tick>, caf::replies_to<atom::details>::with<stage_status>>;

/// LIBRARY: reads the files of models for neighbours, on a thread of its own.
using library_actor = component_actor::extend<
    // Fails with unknown_model, bad_argument or io.
    caf::replies_to<file_want>::with<file_block>>;

/// FETCHER: one per model that is fetched from neighbours, on a thread of its own. Owns what is
/// asked of whom; checks what comes and writes it.
using fetcher_actor =
    component_actor::extend<caf::replies_to<atom::ensure, expert_key, bool>::with<bool>,
                            // Answers once the headers and what every token needs are here. Fails
                            // with bad_file or io.
                            caf::replies_to<atom::open>::with<opened_mirror_ptr>,
                            caf::replies_to<atom::details>::with<fetch_status>,
                            // INTERNAL: the clock.
                            caf::reacts_to<atom::tick>>;

/// JOINER: one per node of a cluster, on a thread of its own. Brings the models that neighbours
/// announce to this node, and those that an earlier start has left on disk.
using joiner_actor =
    component_actor::extend<caf::replies_to<atom::details>::with<std::vector<fetch_status>>,
                            // INTERNAL: the clock.
                            caf::reacts_to<atom::tick>>;

/// PLACER: one per node of a cluster, on a thread of its own. Makes and prices plans.
using placer_actor =
    component_actor::extend<caf::replies_to<plan_question_ptr>::with<plan_answer_ptr>,
                            // What a session would take with each node as its home.
                            caf::replies_to<home_prices_question_ptr>::with<home_prices_ptr>>;

/// UPDATER: one per node. Decides from the members' records what this node should hold, brings it
/// there, and publishes who holds what.
using updater_actor = component_actor::extend<
    caf::reacts_to<members_ptr>,
    // Answers once every expert of every model here is held by somebody who is up.
    caf::replies_to<atom::ready>::with<bool>,
    // This node takes no new work, and the others no longer count on what it holds.
    caf::reacts_to<atom::drain>,
    caf::replies_to<atom::details>::with<std::vector<placement_status>>,
    // Which home a session should have.
    caf::replies_to<homing_question>::with<home_choice>,
    // The neighbour with that key speaks of memory.
    caf::reacts_to<atom::reserve, std::string, reservation_message>,
    // INTERNAL: the clock.
    caf::reacts_to<atom::tick>>;

/// PERCEPTION: one per node. Knows the neighbours; makes a link to each that proves to be a member.
using perception_actor = component_actor::extend<
    // A node may be at this endpoint (a HELLO, or the configuration).
    caf::reacts_to<atom::heard, std::string>,
    // INTERNAL: a frame of somebody without a link; news of a link; the clock.
    caf::reacts_to<stranger>, caf::reacts_to<link_event>, caf::reacts_to<atom::tick>,
    // Whom to tell of every change.
    caf::reacts_to<atom::begin, updater_actor>,
    // This node's record, to be told to all.
    caf::reacts_to<atom::tell, std::shared_ptr<const node_record>>,
    caf::replies_to<atom::members>::with<members_ptr>,
    // Nothing of that node (name or key) is heard any more; answers with its key.
    caf::replies_to<atom::expel, std::string>::with<std::string>,
    // Says goodbye to all.
    caf::reacts_to<atom::leave, std::string>,
    caf::replies_to<atom::details>::with<std::vector<link_status>>>;

/// RECORDER: appends routing to a file, on a thread of its own.
using recorder_actor = caf::typed_actor<
    // Rows of recorded routing, ready to be written.
    caf::reacts_to<atom::append, std::vector<char>>>;

/// APP SOCKET: owns the ZeroMQ socket; turns requests into sessions and answers into frames.
using app_socket_actor = component_actor::extend<
    // INTERNAL: a request arrived.
    caf::reacts_to<app_call>,
    // INTERNAL: that client is gone.
    caf::reacts_to<atom::gone, uint64_t>,
    // Sends a reply; the last reply of a request ends it.
    caf::reacts_to<app_answer>, caf::replies_to<atom::details>::with<app_totals>,
    // Accepts nothing new; answers when the last request has ended.
    caf::replies_to<atom::drain>::with<atom::drained>>;

/// INSPECTOR: owns nothing, asks the others; answers with a JSON document.
using inspector_actor = component_actor::extend<caf::replies_to<inspect_request>::with<std::string>,
                                                // The socket, which starts after the inspector.
                                                caf::reacts_to<atom::begin, app_socket_actor>>;

} // namespace coel::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::inspect_request)
