// The heap of large blocks: no overlap, reuse, and everything back at the end.
#include "cpu/huge_heap.hpp"

#include <boost/test/unit_test.hpp>

#include <cstring>
#include <random>
#include <vector>

using namespace coel;

namespace {

struct piece {
  std::byte* at;
  uint64_t bytes;
  uint8_t mark;
};

bool intact(const piece& p) {
  for (uint64_t i = 0; i < p.bytes; i += 509)
    if (p.at[i] != std::byte{p.mark})
      return false;
  return p.at[p.bytes - 1] == std::byte{p.mark};
}

} // namespace

BOOST_AUTO_TEST_SUITE(cpu_huge_heap)

BOOST_AUTO_TEST_CASE(pieces_do_not_overlap_and_all_comes_back) {
  cpu::huge_heap heap;
  std::mt19937 random(7);
  std::vector<piece> held;
  for (int step = 0; step < 400; ++step) {
    if (held.empty() || random() % 3 != 0) {
      uint64_t bytes = 1 + random() % (random() % 8 == 0 ? 5u << 20 : 200u << 10);
      piece p{heap.take(bytes), bytes, static_cast<uint8_t>(step)};
      BOOST_REQUIRE(p.at);
      BOOST_TEST(reinterpret_cast<uintptr_t>(p.at) % 64 == 0u);
      std::memset(p.at, p.mark, bytes);
      held.push_back(p);
    } else {
      std::swap(held[random() % held.size()], held.back());
      BOOST_TEST(intact(held.back()));
      heap.give_back(held.back().at, held.back().bytes);
      held.pop_back();
    }
  }
  for (const auto& p : held) {
    BOOST_TEST(intact(p));
    heap.give_back(p.at, p.bytes);
  }
  BOOST_TEST(heap.reserved_bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(a_gap_is_used_again) {
  cpu::huge_heap heap;
  auto* a = heap.take(1 << 20);
  auto* b = heap.take(1 << 20);
  auto* c = heap.take(1 << 20);
  uint64_t reserved = heap.reserved_bytes();
  heap.give_back(b, 1 << 20);
  heap.give_back(a, 1 << 20);
  BOOST_TEST(heap.take(2 << 20) == a);
  BOOST_TEST(heap.reserved_bytes() == reserved);
  heap.give_back(a, 2 << 20);
  heap.give_back(c, 1 << 20);
  BOOST_TEST(heap.reserved_bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(one_block_may_be_larger_than_a_slab) {
  cpu::huge_heap heap;
  uint64_t bytes = (uint64_t{200} << 20) + 5;
  auto* at = heap.take(bytes);
  BOOST_REQUIRE(at);
  at[0] = at[bytes - 1] = std::byte{1};
  heap.give_back(at, bytes);
  BOOST_TEST(heap.reserved_bytes() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
