// Decodes the bytes as the description of a model, as a peer sends it.
#include "model/manifest.hpp"
#include "model/mirror_chunks.hpp"
#include "tests/fuzz/memory_file.hpp"

#include <set>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace coel;
  using namespace coel::model;
  std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  auto decoded = manifest::decode(bytes);
  if (!decoded) {
    fuzz::require(!decoded.err().message.empty());
    return 0;
  }
  auto again = manifest::decode(decoded->encode());
  fuzz::require(again.ok() && again->hash() == decoded->hash());
  std::set<std::string> names;
  for (const auto& file : decoded->files()) {
    fuzz::require(file.name.find('/') == std::string::npos && file.name.front() != '.');
    fuzz::require(names.insert(file.name).second && file.size > 0);
  }
  fuzz::require(uint64_t{decoded->chunks()} * sizeof(sha256) <= size);
  uint64_t covered = 0;
  for (uint32_t i = 0; i < decoded->chunks(); ++i) {
    auto at = decoded->place(static_cast<chunk_id>(i));
    fuzz::require(decoded->contains(at) && at.length > 0);
    auto span = decoded->chunks_of(at);
    fuzz::require(span.first == i && span.last == i + 1);
    covered += at.length;
  }
  fuzz::require(covered == decoded->bytes());
  auto set = chunk_set::decode(bytes.first(std::min<size_t>(size, (decoded->chunks() + 7) / 8)),
                               decoded->chunks());
  fuzz::require(!set || set->count() <= decoded->chunks());
  return 0;
}
