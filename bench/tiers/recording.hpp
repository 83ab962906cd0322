// Routing to be replayed: of a file that a node recorded, or of a model that reads a text here,
// with what the routers of deeper layers say to the present hidden state.
#pragma once

#include "common/result.hpp"
#include "policy/routing_stats.hpp"

#include <filesystem>
#include <vector>

namespace coel::bench {

struct recording {
  policy::routing_shape shape;
  std::vector<uint16_t> ids; ///< [tokens, layers, top_k]
  /// [tokens, layers, 3, experts]: router of the layer 1, 2, 3 further on; of the next token's
  /// where there is none (zeros). Empty: not recorded.
  std::vector<float> gates;

  size_t tokens() const { return ids.size() / (size_t{shape.layers} * shape.top_k); }
  const uint16_t* chosen(size_t token, uint32_t layer) const {
    return ids.data() + (token * shape.layers + layer) * shape.top_k;
  }
  /// What the router of `layer` said `ahead` layers before; null where that is not known.
  const float* gate(size_t token, uint32_t layer, uint32_t ahead) const {
    if (gates.empty() || layer < ahead)
      return nullptr;
    return gates.data() + ((token * shape.layers + layer - ahead) * 3 + ahead - 1) * shape.experts;
  }
};

/// The format of docs/formats.md. Errors: io, bad_file.
result<recording> read_routing(const std::filesystem::path& path);

/// Reads a text with the model, in windows of `window` tokens. Errors: those of the model and io.
result<recording> record_model(const std::filesystem::path& model,
                               const std::filesystem::path& text, size_t tokens, uint32_t window);

} // namespace coel::bench
