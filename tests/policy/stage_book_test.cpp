// What a stage keeps of neighbours' sessions: no page is lost or given twice, rows come in order.
#include "policy/kv_pages.hpp"
#include "policy/stage_batches.hpp"
#include "policy/stage_book.hpp"

#include <boost/test/unit_test.hpp>

#include <deque>
#include <random>

using namespace coel;
using namespace coel::policy;
using namespace std::chrono_literals;

namespace {

stage_open asks(uint64_t session, uint32_t tokens) {
  return {{}, session, tokens, 2, 5};
}
const stage_hop layers{"me", 2, 5};
constexpr node_id home{1};

} // namespace

BOOST_AUTO_TEST_SUITE(stage_sessions)

BOOST_AUTO_TEST_CASE(rows_come_in_order_or_not_at_all) {
  stage_book book({4, 100ms});
  book.open(home, asks(7, 10), {1, 2}, 0ms);
  BOOST_TEST(!book.begin(home, layers, {{7, 1, 3}}, 0ms).ok());       // the first is left out
  BOOST_TEST(!book.begin(home, layers, {{8, 0, 3}}, 0ms).ok());       // nobody
  BOOST_TEST(!book.begin(node_id{2}, layers, {{7, 0, 3}}, 0ms).ok()); // another home's
  BOOST_TEST(!book.begin(home, {"me", 2, 4}, {{7, 0, 3}}, 0ms).ok()); // other layers
  BOOST_TEST(!book.begin(home, layers, {{7, 0, 1}, {7, 1, 1}}, 0ms).ok());
  BOOST_TEST(!book.begin(home, layers, {{7, 0, 11}}, 0ms).ok()); // more than it asked for
  BOOST_TEST(book.begin(home, layers, {{7, 0, 3}}, 0ms).ok());
  BOOST_TEST(!book.begin(home, layers, {{7, 0, 3}}, 0ms).ok()); // again
  BOOST_TEST(book.begin(home, layers, {{7, 3, 7}}, 0ms).ok());
  BOOST_TEST(!book.begin(home, layers, {{7, 10, 1}}, 0ms).ok()); // it is full
}

BOOST_AUTO_TEST_CASE(one_bad_part_of_a_run_leaves_the_others_as_they_were) {
  stage_book book({4, 100ms});
  book.open(home, asks(1, 10), {}, 0ms);
  book.open(home, asks(2, 10), {}, 0ms);
  BOOST_TEST(!book.begin(home, layers, {{1, 0, 2}, {2, 5, 1}}, 0ms).ok());
  BOOST_TEST(book.begin(home, layers, {{1, 0, 2}, {2, 0, 1}}, 0ms).ok());
}

BOOST_AUTO_TEST_CASE(pages_wait_for_the_runs_that_use_them) {
  stage_book book({4, 100ms});
  book.open(home, asks(7, 10), {3, 4}, 0ms);
  std::vector<stage_part> parts{{7, 0, 2}};
  BOOST_REQUIRE(book.begin(home, layers, parts, 0ms).ok());
  book.close(home, 7);
  BOOST_TEST(book.take_freed().empty());
  BOOST_TEST(book.open_sessions() == 0u);
  BOOST_TEST(!book.begin(home, layers, {{7, 2, 1}}, 0ms).ok());
  BOOST_TEST(book.pages(home, 7).size() == 2u);
  book.ended(home, parts, true, 0ms);
  BOOST_TEST(book.take_freed().size() == 2u);
}

BOOST_AUTO_TEST_CASE(what_nobody_uses_is_taken_back) {
  stage_book book({4, 100ms});
  book.open(home, asks(1, 10), {1}, 0ms);
  book.open(node_id{2}, asks(1, 10), {2}, 50ms);
  book.close_idle(99ms);
  BOOST_TEST(book.open_sessions() == 2u);
  book.close_idle(100ms);
  BOOST_TEST(book.take_freed() == std::vector<uint32_t>{1});
  book.keep_homes({home});
  BOOST_TEST(book.take_freed() == std::vector<uint32_t>{2});
}

/// Any order of opens, runs, closes and deaths: at the end all pages are free, each once.
BOOST_AUTO_TEST_CASE(no_page_is_lost_or_given_twice) {
  for (uint32_t seed = 1; seed <= 200; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
      kv_pages pool(24);
      stage_book book({6, 400ms});
      stage_book::moment now{0};
      struct run {
        node_id of;
        std::vector<stage_part> parts;
      };
      std::deque<run> under_way;
      std::map<std::pair<node_id, uint64_t>, uint32_t> at; // of open sessions: next position
      uint64_t next = 0;
      auto collect = [&] { pool.give_back(book.take_freed()); }; // asserts that none comes twice
      for (int i = 0; i < 300; ++i) {
        now += stage_book::moment(below(20));
        node_id of{1 + below(3)};
        switch (below(6)) {
        case 0:
          if (auto session = ++next; book.may_open(of, session).ok())
            if (auto pages = pool.take(1 + below(4))) {
              book.open(of, asks(session, 64), *pages, now);
              at[{of, session}] = 0;
            }
          break;
        case 1:
        case 2: {
          run r{of, {}};
          for (auto& [who, position] : at)
            if (who.first == of && below(2))
              r.parts.push_back({who.second, position, 1 + below(3)});
          if (!r.parts.empty() && book.begin(of, layers, r.parts, now).ok()) {
            for (const auto& p : r.parts)
              at[{of, p.session}] += p.rows;
            under_way.push_back(std::move(r));
          }
          break;
        }
        case 3:
          if (!under_way.empty()) {
            auto r = std::move(under_way.front());
            under_way.pop_front();
            book.ended(r.of, r.parts, below(4) != 0, now);
          }
          break;
        case 4:
          if (!at.empty()) {
            auto who = std::next(at.begin(), below(static_cast<uint32_t>(at.size())))->first;
            book.close(who.first, who.second);
            at.erase(who);
          }
          break;
        default:
          if (below(8) == 0)
            book.keep_homes({node_id{1}, node_id{2 + below(2)}});
          book.close_idle(now);
        }
        collect();
        BOOST_REQUIRE(book.open_sessions() <= 6u);
      }
      for (auto& r : under_way)
        book.ended(r.of, r.parts, true, now);
      book.keep_homes({});
      collect();
      BOOST_TEST(pool.used() == 0u);
    }
}

BOOST_AUTO_TEST_CASE(groups_take_all_that_decode_and_slices_fill_the_stages) {
  for (uint32_t stages = 1; stages <= 8; ++stages)
    for (uint32_t decoding = 0; decoding <= 64; ++decoding)
      BOOST_TEST(decoders_of_batch(decoding, stages) * stages >= decoding);
  slice_cost cost{{100, 5}, {50, 4, 0}, 60, 4};
  BOOST_TEST(slice_rows_for(512, 1, cost, 128) == 128u); // nothing to overlap
  BOOST_TEST(slice_rows_for(512, 4, {}, 128) == 128u);   // nothing known
  slice_cost cheap_weights{{0.001, 5}, {0.001, 4, 0}, 60, 4};
  BOOST_TEST(slice_rows_for(512, 4, cheap_weights, 128) <= 16u);
  slice_cost dear_weights{{1e6, 5}, {50, 4, 0}, 60, 4};
  BOOST_TEST(slice_rows_for(512, 4, dear_weights, 128) == 128u);
  for (uint32_t rows = 1; rows < 700; rows += 13) {
    auto slice = slice_rows_for(rows, 3, cost, 128);
    BOOST_TEST((slice >= 1 && slice <= 128));
  }
}

BOOST_AUTO_TEST_SUITE_END()
