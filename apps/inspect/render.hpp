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

} // namespace coel::inspect
