// The inspector's documents as text for people. Pure: JSON in, text out.
#pragma once

#include <nlohmann/json.hpp>

#include <string>

namespace coel::inspect {

struct look {
  size_t width = 80;       ///< columns of the terminal
  bool colour = false;
};

std::string render_actors(const nlohmann::json& document, const look& how);
/// A heat map: layers down, experts across; shared slices stand apart. Too many experts for the
/// width share cells (the mean is shown).
std::string render_experts(const nlohmann::json& document, const look& how);
std::string render_sessions(const nlohmann::json& document, const look& how);
std::string render_memory(const nlohmann::json& document, const look& how);
std::string render_trace(const nlohmann::json& document, const look& how);
std::string render_status(const nlohmann::json& document, const look& how);

} // namespace coel::inspect
