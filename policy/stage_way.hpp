// The way of a token through the layers where each layer's attention, KV and router may be at
// another node that has them: contiguous ranges of layers, each at one node, experts wherever a map
// has them. So one rule covers whole layers at their stage, experts spread within a stage, and
// everything between. All homes use the same way: rows go from the home to the first stage and from
// the last one back.
#pragma once

#include "policy/placement.hpp"

#include <optional>

namespace coel::policy {

struct stage {
  uint32_t node = 0;
  uint32_t first_layer = 0;
  uint32_t layers = 0;
  bool operator==(const stage&) const = default;
};

struct stage_way {
  std::vector<stage> stages; ///< all layers in order; a node is there once
  token_cost decode;         ///< a token; hops are not counted as rounds, but as messages
  token_cost prompt;         ///< slices of it follow each other
  double request_us = 0;
  uint32_t hops = 0; ///< one-way, of a token of a home that is no stage
};

/// The way with the soonest token over at most eight of stage_nodes(): exact for the times averaged
/// over some tokens, by dynamic programming over (nodes used, last, layers done). Nothing where one
/// node would run all layers, which homing does better; or, `pinned`, where there are no two.
struct found_way {
  std::vector<stage> stages;
  double token_us = 0; ///< by those averages, without the output matrix
};
std::optional<found_way> find_way(const cost_model& costs, const expert_map& map,
                                  const home_traffic& traffic, bool pinned = false);

/// A token by a given way, on tokens drawn evenly from the traffic; with several sessions what a
/// step of all of them takes is counted too.
token_cost decode_by_way(const cost_model& costs, const expert_map& map,
                         const home_traffic& traffic, double sessions,
                         const std::vector<stage>& stages);

/// Prompts too.
stage_way price_way(const cost_model& costs, const expert_map& map, const home_traffic& traffic,
                    const placement_options& options, std::vector<stage> stages);

/// Contiguous whole layers over stage_nodes(), in order of their weights and speeds: as many as fit
/// where they are fastest, or by speed (`even`). What is left because no room fits a whole layer is
/// spread over what room there is. Nothing where they have no room for half of the layers.
std::optional<expert_map> place_stages(const cost_model& costs, const home_traffic& traffic,
                                       const std::vector<uint64_t>& room, bool even);

} // namespace coel::policy
