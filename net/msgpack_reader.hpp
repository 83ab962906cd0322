// Reads a msgpack map from a hostile peer: bounded memory, no exceptions, errors that name the
// field. For the sources of net/ only.
#pragma once

#include "common/result.hpp"

#include <msgpack.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace coel::net {

struct unpack_limits {
  size_t bytes = 0; ///< of the whole frame
  size_t depth = 6; ///< arrays and maps inside each other
  size_t map_fields = 64;
  size_t items = 1u << 20; ///< objects in the whole frame: 24 bytes of memory each
};

/// Unpacks one map that fills `frame` exactly. The result refers to the bytes of `frame`, which
/// must outlive it. Errors: bad_frame, too_long.
result<msgpack::object_handle> unpack_map(std::string_view frame, const unpack_limits& limits);

/// Reads fields of a map into variables; an absent field leaves its variable as it is, unknown
/// fields are ignored, of a field given twice the first counts. The first wrong field is kept as
/// the problem and later reads do nothing, so a caller checks once, at the end.
class field_reader {
 public:
  explicit field_reader(const msgpack::object& map) : map_(&map) {}

  const std::optional<error>& problem() const { return problem_; }
  void fail(ec code, std::string message);

  bool has(std::string_view name) const { return find(name) != nullptr; }
  const msgpack::object* find(std::string_view name) const;
  /// As find, but its absence is a problem.
  const msgpack::object* need(std::string_view name);

  void boolean(std::string_view name, bool& out);
  void number(std::string_view name, float& out);
  void text(std::string_view name, std::string& out, size_t limit_bytes);
  void tokens(std::string_view name, std::vector<int32_t>& out, size_t limit);
  void numbers(std::string_view name, std::vector<float>& out, size_t limit);
  void texts(std::string_view name, std::vector<std::string>& out, size_t limit,
             size_t limit_bytes);

  template <class Unsigned>
  void count(std::string_view name, Unsigned& out) {
    if (auto value = unsigned_value(name, std::numeric_limits<Unsigned>::max()))
      out = static_cast<Unsigned>(*value);
  }

  /// The array called `name`, or null with or without a problem.
  const msgpack::object_array* array(std::string_view name, size_t limit);

 private:
  std::optional<uint64_t> unsigned_value(std::string_view name, uint64_t max);

  const msgpack::object* map_;
  std::optional<error> problem_;
};

bool is_number(const msgpack::object& value);
float as_float(const msgpack::object& number);
std::optional<int32_t> as_token(const msgpack::object& value);
std::optional<std::string_view> as_text(const msgpack::object& value);

} // namespace coel::net
