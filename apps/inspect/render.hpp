// The inspector's documents (docs/inspector.md) as text for people. Pure: JSON in, text out, no
// line wider than the terminal. A document of another shape throws nlohmann::json::exception.
#pragma once

#include "apps/inspect/text.hpp"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace coel::inspect {

std::string render_status(const nlohmann::json& document, const look& how);
std::string render_actors(const nlohmann::json& document, const look& how);
/// A heat map and what stands out in it.
std::string render_experts(const nlohmann::json& document, const look& how);
/// The experts of one layer, the most popular first. Throws std::out_of_range without that layer.
std::string render_layer(const nlohmann::json& document, size_t layer, const look& how);
std::string render_sessions(const nlohmann::json& document, const look& how);
std::string render_memory(const nlohmann::json& document, const look& how);
/// Where the microseconds of the last steps went, and one of them hop by hop: `step`, else the
/// last. Throws std::out_of_range if that step is not kept.
std::string render_trace(const nlohmann::json& document, std::optional<uint64_t> step,
                         const look& how);

/// What each node of the cluster holds, its key, and who is heard.
std::string render_nodes(const nlohmann::json& document, const look& how);
/// Connections to neighbours, what went over them, and render_network of each model.
std::string render_links(const nlohmann::json& document, const look& how);
/// What neighbours cost a token, and the advice if there is one: an entry of `network`.
std::string render_network(const nlohmann::json& entry, const look& how);
/// Which node holds which expert of `model`, or of each where it is empty. Throws std::out_of_range
/// without that model.
std::string render_placement(const nlohmann::json& document, const std::string& model,
                             const look& how);
/// That a node drains or was expelled.
std::string render_action(const nlohmann::json& document, const look& how);

} // namespace coel::inspect
