// What a node tells its neighbours about itself over a link (POLICY P1.5): the facts that placement
// and dispatch are computed from. The record with the higher version replaces the lower one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace coel {

/// SHA-256 of a model's manifest: the same bytes have the same hash wherever they lie.
using hash256 = std::array<std::byte, 32>;

/// One bit per item, packed low bit first.
class bitmap {
 public:
  bitmap() = default;
  explicit bitmap(size_t bits) : bits_(bits), bytes_((bits + 7) / 8) {}

  size_t size() const { return bits_; }
  bool test(size_t i) const { return i < bits_ && (bytes_[i / 8] >> (i % 8) & 1); }
  void set(size_t i, bool on = true) {
    auto mask = static_cast<uint8_t>(1u << (i % 8));
    bytes_[i / 8] = static_cast<uint8_t>(on ? bytes_[i / 8] | mask : bytes_[i / 8] & ~mask);
  }
  size_t count() const {
    size_t n = 0;
    for (auto b : bytes_)
      n += static_cast<size_t>(__builtin_popcount(b));
    return n;
  }
  const std::vector<uint8_t>& bytes() const { return bytes_; }
  /// Takes bytes as they came; the rest of the last byte must be zero.
  static bool fits(size_t bits, const std::vector<uint8_t>& bytes) {
    return bytes.size() == (bits + 7) / 8 && (bits % 8 == 0 || bytes.back() >> (bits % 8) == 0);
  }
  bitmap(size_t bits, std::vector<uint8_t> bytes) : bits_(bits), bytes_(std::move(bytes)) {}
  bool operator==(const bitmap&) const = default;

 private:
  size_t bits_ = 0;
  std::vector<uint8_t> bytes_;
};

/// Measured time of running k experts over r rows in all: k * expert_us + r * row_us.
struct expert_speed {
  double expert_us = 0; ///< 0: not measured yet
  double row_us = 0;
  bool operator==(const expert_speed&) const = default;
};

/// Measured time of what a home does for a row beside the experts.
struct home_speed {
  double layer_us = 0;     ///< of a layer, for one row; 0: not measured yet
  double layer_row_us = 0; ///< each further row
  double head_us = 0;      ///< the output matrix, one row
  bool operator==(const home_speed&) const = default;
};

/// What a planner gives one node.
struct planned_share {
  std::string key;
  bitmap holds; ///< [layers * experts_per_layer]
  bool operator==(const planned_share&) const = default;
};

/// Layers that one node runs for all sessions, attention and KV with them.
struct planned_stage {
  std::string key;
  uint32_t first = 0; ///< layer
  uint32_t layers = 0;
  bool operator==(const planned_stage&) const = default;
};

/// A placement that was thought of, as it was predicted. Times of a request are of the lengths
/// that were planned for.
struct plan_option {
  std::string name;
  double token_us = 0;
  double request_us = 0;
  double rounds = 0; ///< of a decoded token
  double bytes = 0;  ///< of a decoded token, both ways
  bool operator==(const plan_option&) const = default;
};

/// A plan as it is told: whoever hears one of a higher (epoch, planner) follows it and tells it on.
struct plan_record {
  uint64_t epoch = 0;  ///< 0: there is none
  std::string planner; ///< key
  plan_option chosen;
  std::string why;
  bool alone = false;               ///< one node is faster than several
  std::vector<plan_option> options; ///< the chosen among them
  std::vector<planned_share> shares;
  std::vector<planned_stage> stages; ///< all layers in order; empty: each home runs all of them
  bool operator==(const plan_record&) const = default;
  bool newer_than(const plan_record& other) const {
    return epoch != other.epoch ? epoch > other.epoch : planner > other.planner;
  }
};

struct model_record {
  std::string name;
  hash256 hash{};
  uint32_t layers = 0;
  uint32_t experts_per_layer = 0; ///< routed, then slices of the shared expert
  uint64_t expert_bytes = 0;      ///< of one expert in memory, the largest
  uint64_t capacity_bytes = 0;    ///< for experts of this model
  bool complete = false;          ///< has every byte of the model's files
  bitmap chunks;                  ///< of the files, if only a part is here; else empty
  bool home = false;              ///< can answer applications
  bool reads = false;             ///< a home that can read experts while it runs
  expert_speed speed;
  bitmap holds; ///< experts in memory, [layers * experts_per_layer]
  /// How often each is used here, [layers * experts_per_layer] or empty (policy/popularity.hpp).
  std::vector<uint8_t> popularity;
  home_speed dense;
  double tokens_per_s = 0; ///< decoded here, in powers of two
  double sessions = 0;     ///< decoded here, in powers of two
  plan_record plan;        ///< that this node follows
  bool operator==(const model_record&) const = default;
};

struct neighbour_record {
  std::string key;
  uint32_t round_trip_us = 0;
  uint64_t goodput_bytes_s = 0; ///< 0: not measured
  bool operator==(const neighbour_record&) const = default;
};

struct node_record {
  uint64_t version = 0; ///< rises with every change
  std::string name;     ///< host name
  std::vector<std::string> app_endpoints;
  bool draining = false;  ///< takes no new work and gives its experts away
  uint64_t ram_bytes = 0; ///< budget; 0: no limit
  uint64_t ram_used_bytes = 0;
  uint64_t expert_memory_bytes = 0; ///< of the budget: for experts of all models
  std::vector<model_record> models;
  std::vector<neighbour_record> neighbours;
  bool operator==(const node_record&) const = default;
};

} // namespace coel
