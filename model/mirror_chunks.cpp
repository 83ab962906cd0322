#include "model/mirror_chunks.hpp"

#include <bit>

namespace coel::model {

namespace {

std::byte mask(chunk_id chunk) {
  return std::byte{1} << (index(chunk) % 8);
}

} // namespace

chunk_set chunk_set::all(uint32_t chunks) {
  chunk_set set(chunks);
  for (uint32_t i = 0; i < chunks; ++i)
    set.add(static_cast<chunk_id>(i));
  return set;
}

result<chunk_set> chunk_set::decode(std::span<const std::byte> bytes, uint32_t chunks) {
  chunk_set set(chunks);
  if (bytes.size() != set.bits_.size())
    return {ec::bad_file, "a list of chunks has " + std::to_string(bytes.size()) +
                              " bytes, for this model it must have " +
                              std::to_string(set.bits_.size())};
  set.bits_.assign(bytes.begin(), bytes.end());
  for (auto b : set.bits_)
    set.count_ += static_cast<uint32_t>(std::popcount(std::to_integer<unsigned>(b)));
  if (chunks % 8 && (bytes.back() >> (chunks % 8)) != std::byte{})
    return {ec::bad_file, "a list of chunks names chunks that the model does not have"};
  return set;
}

bool chunk_set::has(chunk_id chunk) const {
  return index(chunk) < chunks_ && (bits_[index(chunk) / 8] & mask(chunk)) != std::byte{};
}

bool chunk_set::has_all(chunk_span span) const {
  for (uint32_t i = span.first; i < span.last; ++i)
    if (!has(static_cast<chunk_id>(i)))
      return false;
  return true;
}

void chunk_set::add(chunk_id chunk) {
  if (index(chunk) >= chunks_ || has(chunk))
    return;
  bits_[index(chunk) / 8] |= mask(chunk);
  ++count_;
}

void chunk_set::remove(chunk_id chunk) {
  if (!has(chunk))
    return;
  bits_[index(chunk) / 8] &= ~mask(chunk);
  --count_;
}

} // namespace coel::model
