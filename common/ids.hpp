// Strong ids: an expert index must never be passed where a layer index is meant.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace coel {

enum class layer_id : uint16_t {};
enum class expert_id : uint16_t {
}; ///< index inside one layer; slices of a shared expert follow the routed ones
enum class node_id : uint32_t {};    ///< given by this node to those it meets; 0 is itself
enum class request_id : uint64_t {}; ///< unique within a node's life

inline constexpr node_id this_node{0};

template <class Id>
constexpr auto index(Id id) {
  return static_cast<std::underlying_type_t<Id>>(id);
}

/// One expert of one layer of one model.
struct expert_key {
  layer_id layer{};
  expert_id expert{};
  auto operator<=>(const expert_key&) const = default;
};

inline std::string to_string(layer_id x) {
  return std::to_string(index(x));
}
inline std::string to_string(expert_id x) {
  return std::to_string(index(x));
}
inline std::string to_string(node_id x) {
  return std::to_string(index(x));
}
inline std::string to_string(request_id x) {
  return std::to_string(index(x));
}
inline std::string to_string(expert_key k) {
  return to_string(k.layer) + ":" + to_string(k.expert);
}

} // namespace coel
