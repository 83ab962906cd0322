// What TAB offers. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace coel::inspect {

/// Names that only the node knows.
struct vocabulary {
  std::vector<std::pair<std::string, size_t>> models; ///< with their layers
  std::vector<uint64_t> requests;
  std::vector<std::string> nodes{};
};

struct completion {
  std::string typed;                   ///< the word before the cursor
  std::vector<std::string> candidates; ///< that begin with it, in order
};

/// `line` is what stands before the cursor.
completion complete(std::string_view line, const vocabulary& node);

/// True if the node must be asked before `complete` can tell.
bool needs_node(std::string_view line);

/// What all candidates share beyond the typed word; with a space behind if there is one only.
std::string continuation(const completion& found);

} // namespace coel::inspect
