// A node's record on the wire: a msgpack map (docs/links.md). Unknown fields are ignored, so that
// nodes of neighbouring versions understand each other.
#pragma once

#include "common/node_record.hpp"
#include "common/result.hpp"

#include <span>

namespace coel::net {

std::vector<std::byte> pack_node_record(const node_record& record);

/// Errors: bad_frame naming the field; every list and text is bounded.
result<node_record> unpack_node_record(std::span<const std::byte> bytes);

} // namespace coel::net
