#include "model/xxh64.hpp"

#include <array>
#include <bit>
#include <cstring>

namespace coel::model {

namespace {

constexpr uint64_t prime1 = 0x9e3779b185ebca87u, prime2 = 0xc2b2ae3d27d4eb4fu,
                   prime3 = 0x165667b19e3779f9u, prime4 = 0x85ebca77c2b2ae63u,
                   prime5 = 0x27d4eb2f165667c5u;

template <class Word>
uint64_t word_at(const std::byte* p) { // little-endian, as all that this is built for
  Word w;
  std::memcpy(&w, p, sizeof w);
  return w;
}

uint64_t round(uint64_t lane, uint64_t word) {
  return std::rotl(lane + word * prime2, 31) * prime1;
}

/// Stripes of 32 bytes in four lanes; `at` goes to the rest.
uint64_t stripes(const std::byte*& at, const std::byte* end, uint64_t seed) {
  std::array<uint64_t, 4> lane{seed + prime1 + prime2, seed + prime2, seed, seed - prime1};
  for (; end - at >= 32; at += 32)
    for (size_t i = 0; i < lane.size(); ++i)
      lane[i] = round(lane[i], word_at<uint64_t>(at + 8 * i));
  uint64_t h = std::rotl(lane[0], 1) + std::rotl(lane[1], 7) + std::rotl(lane[2], 12) +
               std::rotl(lane[3], 18);
  for (auto l : lane)
    h = (h ^ round(0, l)) * prime1 + prime4;
  return h;
}

uint64_t mixed(uint64_t h) {
  h = (h ^ h >> 33) * prime2;
  h = (h ^ h >> 29) * prime3;
  return h ^ h >> 32;
}

} // namespace

uint64_t xxh64(std::span<const std::byte> bytes, uint64_t seed) {
  const auto *at = bytes.data(), *end = at + bytes.size();
  uint64_t h = bytes.size() >= 32 ? stripes(at, end, seed) : seed + prime5;
  h += bytes.size();
  for (; end - at >= 8; at += 8)
    h = std::rotl(h ^ round(0, word_at<uint64_t>(at)), 27) * prime1 + prime4;
  if (end - at >= 4) {
    h = std::rotl(h ^ word_at<uint32_t>(at) * prime1, 23) * prime2 + prime3;
    at += 4;
  }
  for (; at < end; ++at)
    h = std::rotl(h ^ static_cast<uint64_t>(*at) * prime5, 11) * prime1;
  return mixed(h);
}

} // namespace coel::model
