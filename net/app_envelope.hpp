// What requests and replies of the app protocol have in common: version, id, operation. For the
// sources of net/ only.
#pragma once

#include "net/app_protocol.hpp"
#include "net/msgpack_reader.hpp"

#include <msgpack.hpp>

#include <string>
#include <type_traits>
#include <vector>

namespace coel::net {

using packer = msgpack::packer<msgpack::sbuffer>;

/// Opens a map with room for `fields` more than the three of the envelope.
void pack_envelope(packer& out, uint64_t id, std::string_view op, uint32_t fields);
void pack_text(packer& out, std::string_view text);
/// As float32, always: msgpack-c would make integers of whole numbers, with undefined behaviour
/// beyond their range.
void pack_number(packer& out, float value);
template <class Value>
void pack_field(packer& out, std::string_view name, const Value& value) {
  pack_text(out, name);
  if constexpr (std::is_same_v<Value, float>)
    pack_number(out, value);
  else
    out.pack(value);
}
void pack_field(packer& out, std::string_view name, const std::vector<float>& values);
void pack_text_field(packer& out, std::string_view name, std::string_view text);

/// Checks version and reads id and op, then lets `read_body(field_reader&, op)` read the rest.
/// Whatever the body, the outcome is the reader's problem if it has one.
template <class Body, class ReadBody>
decoded<Body> decode_message(std::string_view frame, size_t limit_bytes, ReadBody read_body) {
  unpack_limits limits;
  limits.bytes = limit_bytes;
  auto map = unpack_map(frame, limits);
  if (!map.ok())
    return {std::nullopt, map.err()};
  field_reader fields(map->get());
  decoded<Body> out{std::nullopt, error{ec::internal, "not read"}};
  uint64_t version = 0;
  uint64_t id = 0;
  std::string op;
  fields.need("id");
  fields.count("id", id);
  if (!fields.problem())
    out.id = id;
  fields.need("v");
  fields.count("v", version);
  if (!fields.problem() && version != app_protocol_version)
    fields.fail(ec::version_mismatch,
                "this end speaks version " + std::to_string(app_protocol_version) +
                    " of the app protocol, the message is of version " + std::to_string(version));
  fields.need("op");
  fields.text("op", op, max_name_bytes);
  if (!fields.problem())
    out.body = read_body(fields, op);
  if (fields.problem())
    out.body = *fields.problem();
  return out;
}

} // namespace coel::net
