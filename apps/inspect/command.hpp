// What a user may say to the inspector. Pure.
#pragma once

#include "common/request.hpp"
#include "common/result.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace coel::inspect {

struct command {
  enum class kind : uint8_t { nothing, ask, help, quit };
  kind what = kind::nothing;
  std::string name;                               ///< as the user called it: how to show the answer
  inspect_request ask;                            ///< kind::ask
  std::optional<size_t> layer;                    ///< experts: of this layer only
  std::optional<uint64_t> step;                   ///< trace: this step hop by hop
  std::optional<std::chrono::milliseconds> every; ///< watch: how long between two
};

/// Words of a line as a command. Errors: bad_argument, which says what is possible.
result<command> parse_command(std::string_view line);

/// Every command with what it does, for help.
std::string help_text();

/// Names of all commands; of those that `watch` can repeat: that ask and change nothing.
const std::vector<std::string>& command_names();
const std::vector<std::string>& watchable_names();

std::vector<std::string> words_of(std::string_view line);
bool is_number(std::string_view word); ///< by its characters; it may still be none

} // namespace coel::inspect
