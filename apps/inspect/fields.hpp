// Fields of a node's document. Numbers beyond what a document can mean are cut, not trusted.
#pragma once

#include "apps/inspect/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace coel::inspect {

inline double real(const nlohmann::json& in, const char* name) {
  return std::clamp(in.at(name).get<double>(), -9e15, 9e15);
}
inline uint64_t whole(const nlohmann::json& in, const char* name) {
  return static_cast<uint64_t>(std::max(0.0, real(in, name)));
}
inline std::string words(const nlohmann::json& in, const char* name) {
  return printable(in.at(name).get<std::string>());
}
inline std::string count(const nlohmann::json& in, const char* name) {
  return number_text(whole(in, name));
}
inline std::string size(const nlohmann::json& in, const char* name) {
  return bytes_text(whole(in, name));
}

} // namespace coel::inspect
