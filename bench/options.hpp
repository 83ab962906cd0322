// The command line of coel-bench.
#pragma once

#include "actors/lower_choice.hpp"
#include "bench/measure.hpp"
#include "cpu/device.hpp"
#include "model/random_model.hpp"

#include <optional>
#include <variant>

namespace coel::bench {

enum class device_kind : uint8_t { cpu, gpu };

struct options {
  std::filesystem::path model; ///< empty with --random or --machine
  std::optional<model::random_model_spec> random;
  std::filesystem::path cache = model::default_cache_folder();
  std::string endpoint;    ///< of a node that runs; empty: the model is run here
  std::string node_model;  ///< as that node calls it
  uint64_t ram_bytes = 0;  ///< budget of the node that is measured; 0: no limit
  double expert_share = 0; ///< of its routed experts in memory, instead of a budget; 0: all
  std::vector<std::filesystem::path> stores; ///< see engine_needs
  actors::lower_choice lower;                ///< the same
  bool drawn_answers = false;                ///< the same
  bool only_make = false;                    ///< make the random model, measure nothing
  bool machine = false;
  bool json = false;
  through way = through::actors;
  test_plan plan;
  device_kind runs_on = device_kind::cpu;
  std::vector<uint32_t> cards{0};   ///< numbers of the GPUs
  uint64_t gpu_bytes = 0;           ///< of its memory, with the CPU beside it; 0: see the next
  std::optional<double> card_share; ///< of routed experts on it, with the CPU beside it
  cpu::device_options device;       ///< of the CPU
};

/// The options, or the exit code with which to leave (help: 0, mistake: 2, said on standard error).
std::variant<options, int> read_options(int argc, char** argv);

} // namespace coel::bench
