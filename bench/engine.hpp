// What is measured: something that continues prompts with tokens.
#pragma once

#include "actors/lower_choice.hpp"
#include "compute/device.hpp"
#include "model/source.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace coel::bench {

struct run_times {
  double prompt_s = 0;  ///< start to first token
  double decode_s = 0;  ///< first token to last
  uint32_t decoded = 0; ///< tokens after the first
};

/// What a node of which not all experts fit its memory has done since its start.
struct tier_use {
  uint64_t uses = 0;     ///< of an expert by a step
  uint64_t found = 0;    ///< in memory
  uint64_t foreseen = 0; ///< of these: read ahead
  uint64_t read_bytes = 0;
  uint64_t wasted_bytes = 0;   ///< of these
  uint64_t stall_us = 0;       ///< with nothing to compute, for experts to be read
  uint64_t tokens = 0;         ///< through all layers
  uint64_t late = 0;           ///< of the uses: on its way, because foreseen
  uint64_t lower = 0;          ///< of the uses: ran a copy of fewer bits instead
  double disk_bytes_per_s = 0; ///< lately
  double demand_us = 0;        ///< of a read that is waited for, lately
  std::vector<double> recall;  ///< of the predictor, one to three layers ahead, lately
  double layers_ahead = 0;     ///< share of layers in which reading ahead is on
};

class engine {
 public:
  virtual ~engine() = default;
  /// Nothing where all fits.
  virtual std::optional<tier_use> tiers() { return {}; }
  /// Continues each prompt by `tokens` tokens (at least one), the likeliest each time and whatever
  /// they are: an end token does not end it. One entry a prompt. Errors: those of device and model.
  virtual result<std::vector<run_times>> generate(const std::vector<std::vector<int32_t>>& prompts,
                                                  uint32_t tokens) = 0;
};
using engine_ptr = std::unique_ptr<engine>;

struct engine_needs {
  std::filesystem::path model;
  compute::device_ptr on;
  uint32_t context = 0;       ///< tokens of one session, prompt and answer
  uint32_t sessions = 1;      ///< at once
  uint64_t ram_bytes = 0;     ///< budget of the node; 0: no limit
  double expert_share = 0;    ///< of routed experts in memory, instead of a budget; 0: all
  bool drawn_answers = false; ///< tokens are drawn, nearly all as likely, not the likeliest
  double card_share = 1;      ///< of routed experts on a card, at the most
  std::vector<std::filesystem::path> stores{}; ///< of experts, besides one that lies by the model
  actors::lower_choice lower{};                ///< copies of fewer bits, for misses
  std::function<void(const std::string& line)>
      event{}; ///< what the node says of them; may be empty
};

using load_progress = std::function<void(uint64_t done, uint64_t total)>;

/// The kernels called in a plain loop, one session after another.
result<engine_ptr> make_plain_engine(const engine_needs& needs, const load_progress& progress);

/// A whole node in this process: sessions, scheduler, gates and experts as actors; all prompts at
/// once. Also the plain loop over the same weights, where all of them fit, to be measured in turn
/// with it.
struct node_engines {
  engine_ptr actors;
  engine_ptr plain; ///< destroy it before `actors`
};
result<node_engines> make_node_engines(const engine_needs& needs, const load_progress& progress);

} // namespace coel::bench
