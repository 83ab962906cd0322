// A checksum against damage, not against malice: XXH64 (Collet, github.com/Cyan4973/xxHash,
// doc/xxhash_spec.md), about as fast as memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace coel::model {

uint64_t xxh64(std::span<const std::byte> bytes, uint64_t seed = 0);

} // namespace coel::model
