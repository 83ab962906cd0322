// What nodes say to each other: one ZeroMQ frame each, little-endian, bulk data as it lies in
// memory. Numbers from the wire are checked against the frame's size before anything is allocated.
#pragma once

#include "common/expert_rows.hpp"
#include "common/ids.hpp"
#include "common/reservation_message.hpp"
#include "common/result.hpp"
#include "common/stage_message.hpp"

#include <zmq.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace coel::net {

inline constexpr uint16_t link_protocol_version = 4;

/// Activations on the wire (POLICY P7): int8 with one f32 scale per 64 values.
enum class wire_type : uint8_t { f32, f16, int8 };

using coel::hash256;

enum class link_frame_kind : uint8_t {
  greeting,
  refusal,
  dispatch,
  sum,
  failure,
  ping,
  pong,
  record,
  want,
  block,
  goodbye,
  drain,
  output,
  reservation,
  guest,
  guest_answer,
  guest_end,
  stage_open,
  stage_granted,
  stage_close,
  stage_run,
  stage_answer,
};

/// One expert's rows: indices into the frame's rows.
using expert_part = expert_rows;

/// Rows for the experts of one layer at one node.
struct dispatch_head {
  uint64_t id = 0; ///< of the sender; the answer carries it
  hash256 model{};
  layer_id layer{};
  uint32_t rows = 0;
  uint32_t hidden = 0;
  wire_type wire = wire_type::f16; ///< of the rows, and of the answer
  uint32_t patience_us = 0;        ///< the sender gives up after this; a later answer is useless
};

struct dispatch_frame {
  dispatch_head head;
  std::vector<float> activations; ///< [rows, hidden]
  std::vector<expert_part> experts;
};

/// The weighted sum over the experts asked for.
struct sum_frame {
  uint64_t id = 0;
  uint32_t rows = 0;
  uint32_t hidden = 0;
  wire_type wire = wire_type::f16;
  uint32_t wait_us = 0;      ///< at the helper: from arrival until the device began
  uint32_t run_us = 0;       ///< at the helper: the device
  std::vector<float> values; ///< [rows, hidden]
};

/// Rows for a part of the output matrix; answered by a sum whose hidden is end - first, in f32.
struct output_head {
  uint64_t id = 0;
  hash256 model{};
  uint32_t rows = 0;
  uint32_t hidden = 0;
  uint32_t first = 0; ///< columns of the logits: [first, end)
  uint32_t end = 0;
  wire_type wire = wire_type::f16; ///< of the rows
  uint32_t patience_us = 0;
};

struct output_frame {
  output_head head;
  std::vector<float> activations; ///< [rows, hidden], after the last norm
};

/// The answer to a dispatch, an output or a want that could not be served.
struct failure_frame {
  uint64_t id = 0;
  error why;
};

/// First frame in each direction, and its answer (see link_handshake.hpp).
struct greeting_frame {
  uint16_t version = link_protocol_version;
  uint64_t nonce = 0;       ///< of the connection that the sender opened
  uint64_t echo = 0;        ///< nonce that this greeting answers; 0: none
  uint64_t boot = 0;        ///< changes with every start of the sender
  uint16_t link_port = 0;   ///< where the sender listens
  std::string link_address; ///< IPv4, if it listens on one only; else where its frames come from.
                            ///< What is no address reads as empty
  std::string name;         ///< host name, for people
  std::string build;        ///< version and features that must agree
  struct model {
    std::string name;
    hash256 hash{};
  };
  std::vector<model> models; ///< served or mirrored by the sender
};

struct refusal_frame {
  uint64_t echo = 0;
  error why;
};

struct ping_frame {
  uint64_t id = 0;
  uint64_t sent_us = 0; ///< the sender's clock; the pong returns both
};

/// A node's record (msgpack, made and read by net/node_record); the newest replaces the others.
struct record_frame {
  std::vector<std::byte> bytes;
};

/// Asks for part of a model's file, or with file = manifest_file for its manifest. With file =
/// routing_file, offset 0 and length max_block_bytes: some of the tokens that the node routed, as a
/// routing file (docs/formats.md).
struct want_frame {
  static constexpr uint32_t manifest_file = 0xffffffff;
  static constexpr uint32_t routing_file = 0xfffffffe;
  uint64_t id = 0;
  hash256 model{};
  uint32_t file = 0;
  uint64_t offset = 0;
  uint32_t length = 0; ///< at most max_block_bytes
};

inline constexpr uint32_t max_block_bytes = 1u << 20;

struct block_frame {
  uint64_t id = 0;
  uint64_t total = 0; ///< of the manifest or file asked for
  std::vector<std::byte> bytes;
};

/// A session of the sender's applications that the receiver is to be the home of: a message of the
/// app protocol. `id` is the sender's.
struct guest_frame {
  uint64_t id = 0;
  std::string message; ///< at most max_guest_bytes
};

/// What it answers, likewise; the last message of it ends the guest.
struct guest_answer_frame {
  uint64_t id = 0;
  std::string message; ///< at most max_guest_bytes
};

inline constexpr uint32_t max_guest_bytes = 4u << 20;

/// It is no longer wanted.
struct guest_end_frame {
  uint64_t id = 0;
};

struct goodbye_frame {
  std::string reason;
};

/// Asks the neighbour to take no new work and to let others hold its experts.
struct drain_frame {};

struct stage_open_frame {
  uint64_t id = 0; ///< the answer, granted or a failure, carries it
  stage_open open;
};
struct stage_granted_frame {
  uint64_t id = 0;
};

/// Whether all are numbers that an answer may have: no NaN, no infinity.
bool all_finite(std::span<const float> values);

/// Of a dispatch, output, sum, failure, want, block, stage_open or stage_granted, also of one that
/// does not decode; nothing of others and of frames that end before it.
std::optional<uint64_t> id_of(std::span<const std::byte> frame);

/// Kind of a frame; nothing if it is not one of ours.
std::optional<link_frame_kind> kind_of(std::span<const std::byte> frame);

// encode: rows in, message out, converting to the wire type while copying (no step in between).
zmq::message_t encode(const dispatch_head& head, std::span<const float> activations,
                      std::span<const expert_part> experts);
zmq::message_t encode(const output_head& head, std::span<const float> activations);
/// `values` are [rows, hidden] in place of frame.values.
zmq::message_t encode(const sum_frame& head, std::span<const float> values);
zmq::message_t encode(const failure_frame&);
zmq::message_t encode(const greeting_frame&);
zmq::message_t encode(const refusal_frame&);
zmq::message_t encode(link_frame_kind ping_or_pong, const ping_frame&);
zmq::message_t encode(const record_frame&);
zmq::message_t encode(const want_frame&);
zmq::message_t encode(const block_frame& head, std::span<const std::byte> bytes);
zmq::message_t encode(const guest_frame&);
zmq::message_t encode(const guest_answer_frame&);
zmq::message_t encode(const guest_end_frame&);
zmq::message_t encode(const goodbye_frame&);
zmq::message_t encode(const drain_frame&);
zmq::message_t encode(const reservation_message&);
zmq::message_t encode(const stage_open_frame&);
zmq::message_t encode(const stage_granted_frame&);
zmq::message_t encode(const stage_close&);
/// Rows are residuals: `wire` should not be int8 (docs/links.md).
zmq::message_t encode(const stage_run&, wire_type wire);
zmq::message_t encode(const stage_answer&, wire_type wire);

// decode: bad_frame with what is wrong; rows, experts and widths are bounded (constants in the
// .cpp, said in docs/links.md), every row index is below rows, every float is finite. A dispatch or
// sum that is well formed but for floats that are not is bad_argument: its sender computes wrongly,
// but keeps to the protocol.
result<dispatch_frame> decode_dispatch(std::span<const std::byte> frame);
result<output_frame> decode_output(std::span<const std::byte> frame);
result<sum_frame> decode_sum(std::span<const std::byte> frame);
result<failure_frame> decode_failure(std::span<const std::byte> frame);
result<greeting_frame> decode_greeting(std::span<const std::byte> frame);
result<refusal_frame> decode_refusal(std::span<const std::byte> frame);
result<ping_frame> decode_ping(std::span<const std::byte> frame);
result<record_frame> decode_record(std::span<const std::byte> frame);
result<want_frame> decode_want(std::span<const std::byte> frame);
result<block_frame> decode_block(std::span<const std::byte> frame);
result<guest_frame> decode_guest(std::span<const std::byte> frame);
result<guest_answer_frame> decode_guest_answer(std::span<const std::byte> frame);
result<guest_end_frame> decode_guest_end(std::span<const std::byte> frame);
result<goodbye_frame> decode_goodbye(std::span<const std::byte> frame);
result<drain_frame> decode_drain(std::span<const std::byte> frame);
result<reservation_message> decode_reservation(std::span<const std::byte> frame);
result<stage_open_frame> decode_stage_open(std::span<const std::byte> frame);
result<stage_granted_frame> decode_stage_granted(std::span<const std::byte> frame);
result<stage_close> decode_stage_close(std::span<const std::byte> frame);
result<stage_run> decode_stage_run(std::span<const std::byte> frame);
result<stage_answer> decode_stage_answer(std::span<const std::byte> frame);

} // namespace coel::net
