// Free lists and the pool under them.
#include "emulated_card.hpp"
#include "gpu/pool.hpp"

#include <boost/test/unit_test.hpp>

#include <random>
#include <vector>

using namespace coel;

namespace {

struct part {
  uint64_t offset, size;
};

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_memory)

BOOST_AUTO_TEST_CASE(parts_never_overlap_and_all_come_back) {
  constexpr uint64_t size = 1 << 16;
  std::mt19937 random(1);
  gpu::free_list list(size);
  std::vector<part> held;
  uint64_t used = 0;
  for (int i = 0; i < 20000; ++i) {
    if (random() % 2 == 0 && !held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      list.give_back(held.back().offset, held.back().size);
      used -= held.back().size;
      held.pop_back();
    } else {
      uint64_t want = 1 + random() % 3000;
      auto at = list.take(want);
      if (!at) {
        BOOST_REQUIRE(list.longest() < want);
        continue;
      }
      BOOST_REQUIRE(*at + want <= size);
      for (const auto& p : held)
        BOOST_REQUIRE(*at + want <= p.offset || p.offset + p.size <= *at);
      held.push_back({*at, want});
      used += want;
    }
    BOOST_REQUIRE_EQUAL(list.free_bytes(), size - used);
  }
  for (const auto& p : held)
    list.give_back(p.offset, p.size);
  BOOST_TEST(list.longest() == size); // joined to one
}

BOOST_AUTO_TEST_CASE(slabs_keep_to_the_budget_and_go_back_when_empty) {
  auto control = std::make_shared<gpu::emulated_control>();
  auto pool = std::make_shared<gpu::memory_pool>(gpu::make_emulated_card({}, control), 10000, 4096);
  std::vector<gpu::block> blocks;
  while (auto b = pool->make(1000, "block"))
    blocks.push_back(std::move(*b));
  BOOST_TEST(blocks.size() == 9u); // 1024 each: four, four, and one in what is left
  BOOST_TEST(pool->used() == 9000u);
  BOOST_TEST(control->allocated <= 10000u);
  BOOST_TEST((pool->make(1, "one more").ok()));
  for (const auto& b : blocks)
    BOOST_TEST(reinterpret_cast<uintptr_t>(b.data()) % 256 == 0u);
  blocks.clear();
  BOOST_TEST(pool->used() == 0u);
  BOOST_TEST(pool->taken() <= 4096u);
  BOOST_TEST(control->allocated == pool->taken());
}

BOOST_AUTO_TEST_CASE(memory_of_the_host_is_known_by_its_address) {
  auto pool = std::make_shared<gpu::memory_pool>(gpu::make_emulated_card(), 0);
  auto host = pool->make_host(1000, "seen");
  auto on_card = pool->make(1000, "not seen");
  BOOST_REQUIRE((host.ok() && on_card.ok()));
  BOOST_TEST(pool->is_host(host->data()));
  BOOST_TEST(pool->is_host(host->data() + 999));
  BOOST_TEST(!pool->is_host(on_card->data()));
  auto* was = host->data();
  *host = gpu::block();
  BOOST_TEST(!pool->is_host(was));
}

BOOST_AUTO_TEST_SUITE_END()
