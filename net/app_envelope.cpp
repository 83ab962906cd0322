#include "net/app_envelope.hpp"

#include "net/utf8.hpp"

#include <bit>

namespace coel::net {

void pack_text(packer& out, std::string_view text) {
  out.pack_str(static_cast<uint32_t>(text.size()));
  out.pack_str_body(text.data(), static_cast<uint32_t>(text.size()));
}

void pack_number(packer& out, float value) {
  constexpr char float32 = static_cast<char>(0xCA);
  auto bits = std::bit_cast<uint32_t>(value);
  char bytes[5] = {float32};
  for (int i = 0; i < 4; ++i)
    bytes[1 + i] = static_cast<char>(bits >> (24 - 8 * i) & 0xFF);
  out.pack_bin_body(bytes, sizeof bytes); // appends as they are
}

void pack_field(packer& out, std::string_view name, const std::vector<float>& values) {
  pack_text(out, name);
  out.pack_array(static_cast<uint32_t>(values.size()));
  for (float value : values)
    pack_number(out, value);
}

void pack_text_field(packer& out, std::string_view name, std::string_view text) {
  pack_text(out, name);
  if (is_utf8(text))
    pack_text(out, text);
  else
    pack_text(out, repaired_utf8(text));
}

void pack_envelope(packer& out, uint64_t id, std::string_view op, uint32_t fields) {
  out.pack_map(3 + fields);
  pack_field(out, "v", app_protocol_version);
  pack_field(out, "id", id);
  pack_text(out, "op");
  pack_text(out, op);
}

} // namespace coel::net
