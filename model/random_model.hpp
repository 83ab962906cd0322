// Models of random weights in real shapes, for benchmarks: the file of a model that nobody has to
// download, with routing as uneven as a trained model's and activations as tame.
#pragma once

#include "model/gguf_writer_fill.hpp"
#include "model/random_model_shapes.hpp"

namespace coel::model {

struct random_model_spec {
  model_config shape;       ///< random_model_shapes.hpp
  dtype type = dtype::q4_0; ///< of the matrices; see plan_tensors
  float skew = 0.8f;        ///< Zipf exponent of expert popularity in each layer; 0: even
  uint64_t seed = 1;        ///< same spec, same bytes, whatever the threads
};

/// Errors: those of write_model; bad_argument (skew outside 0..4).
result<void> write_random_model(const std::filesystem::path& path, const random_model_spec& spec,
                                uint32_t threads, const write_progress& progress = {});

/// The file of this spec in `folder`, made (with the folder) unless it is there and whole.
/// `made` tells which, if given.
result<std::filesystem::path> cached_random_model(const std::filesystem::path& folder,
                                                  const random_model_spec& spec, uint32_t threads,
                                                  const write_progress& progress = {},
                                                  bool* made = nullptr);

/// $XDG_CACHE_HOME/coel, else ~/.cache/coel, else a folder "coel" for temporary files.
std::filesystem::path default_cache_folder();

/// Byte-level BPE of `size` tokens: the 256 bytes, made-up words that no merge produces, and the
/// special tokens of ChatML at the end. For sizes of at least 260.
tokenizer_data synthetic_vocabulary(uint32_t size);

} // namespace coel::model
