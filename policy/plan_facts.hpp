// What a plan is made from: a model's demands, the nodes and the links between them, and who
// decodes what. Times in us, sizes in bytes, rates in bytes or multiply-adds per us (1 GB/s is
// 1000 bytes per us, 1 Mbit/s is 0.125).
#pragma once

#include "common/node_record.hpp"
#include "policy/routing_trace.hpp"

#include <optional>
#include <string>
#include <vector>

namespace coel::policy {

struct model_demand {
  std::string name;
  uint32_t layers = 0;
  uint32_t experts = 0; ///< per layer, slices of the shared expert included
  uint32_t top_k = 0;   ///< experts of a token in a layer, slices included
  uint32_t slices = 0;  ///< of those: slices of the shared expert, which every token uses
  uint64_t expert_bytes = 0;
  uint64_t dense_layer_bytes = 0;  ///< attention, norms and router of one layer
  uint64_t head_bytes = 0;         ///< the output matrix
  uint64_t embedding_bytes = 0;    ///< zero if it is the output matrix
  uint64_t kv_bytes_per_token = 0; ///< of all layers
  uint32_t context_tokens = 4096;  ///< for which a home keeps room
  double expert_macs = 0;          ///< multiply-adds of one row through one expert
  double dense_layer_macs = 0;
  double head_macs = 0;
  uint32_t wire_row_bytes = 0; ///< one row, one way

  size_t items() const { return size_t{layers} * experts; }
  uint64_t expert_total_bytes() const { return items() * expert_bytes; }
  /// What a node needs beside experts to be a home.
  uint64_t home_bytes() const {
    return layers * dense_layer_bytes + head_bytes + embedding_bytes +
           kv_bytes_per_token * context_tokens;
  }
};

/// Times of one node for one model, unloaded.
struct node_times {
  expert_speed expert;     ///< k experts over r rows: k * expert_us + r * row_us
  double layer_us = 0;     ///< all of a layer that is no expert, for one row
  double layer_row_us = 0; ///< each further row
  double head_us = 0;      ///< drawing one token
};

struct node_facts {
  std::string name;
  uint64_t memory_bytes = 0; ///< that plans may use
  double read_bytes_us = 0;  ///< of memory
  double macs_us = 0;        ///< multiply-adds, large batches
  double utilisation = 0;    ///< share of its device that other work takes, 0 to 0.95
  double step_us = 20;       ///< of a command list: meetings of threads, messages of actors
  double handling_us = 60;   ///< of one dispatch beside the round trip, both sides
  double store_bytes_us = 0; ///< SSD; 0: experts that do not fit cannot be run here
  std::optional<node_times> measured; ///< instead of what the rates say
  std::optional<uint64_t> room;       ///< experts that fit, where the node says so itself
  double read_us = 0; ///< as a home, of an expert that no node holds, till it can run; that it may
                      ///< be in the pool is counted; 0: it cannot be had
  bool runs_layers = false; ///< holds what every token needs: a stage may be there. Homes do anyway
};

struct link_facts {
  double rtt_us = 20'000; ///< a link that nobody measured is taken to be poor
  double bytes_us = 1.25; ///< goodput, the lower of both directions: 10 Mbit/s
};

class network_facts {
 public:
  network_facts() = default;
  explicit network_facts(uint32_t nodes, link_facts all = {})
      : nodes_(nodes), links_(size_t{nodes} * nodes, all) {}
  const link_facts& between(uint32_t a, uint32_t b) const { return links_[size_t{a} * nodes_ + b]; }
  void set(uint32_t a, uint32_t b, link_facts x) {
    links_[size_t{a} * nodes_ + b] = links_[size_t{b} * nodes_ + a] = x;
  }
  uint32_t nodes() const { return nodes_; }

 private:
  uint32_t nodes_ = 0;
  std::vector<link_facts> links_; // [nodes, nodes]
};

/// Tokens and where they are decoded.
struct home_traffic {
  routing_trace trace;
  std::vector<uint16_t> home; ///< [tokens] node
  std::vector<double> weight; ///< [nodes] share of all tokens that a node decodes; sums to 1

  std::vector<uint32_t> homes() const; ///< nodes of a weight, rising
  /// [nodes] the tokens that each decodes.
  std::vector<std::vector<size_t>> tokens_by_home() const;
};

/// One home's own routing and how much it decodes beside the others.
struct home_trace {
  uint32_t node = 0;
  double tokens_per_s = 1;
  routing_trace trace;
};
/// Session ids are made distinct between homes.
home_traffic join_traffic(uint32_t nodes, std::span<const home_trace> homes);

/// Where layers of sessions may run, attention and KV with them: rising.
std::vector<uint32_t> stage_nodes(const std::vector<node_facts>& nodes,
                                  const home_traffic& traffic);

node_times times_of(const node_facts& node, const model_demand& model);

/// Experts of the model that fit a node. 10 % of its memory is kept free; the dense part and KV of
/// a home, and of a node that runs layers, come first.
inline constexpr double memory_reserve = 0.1;
uint64_t expert_room(const node_facts& node, const model_demand& model, bool home);
/// Has it the memory to be a home, as nodes find out when they start?
bool may_be_home(const node_facts& node, const model_demand& model);

} // namespace coel::policy
