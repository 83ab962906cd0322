// The executor alone: every tile once, phases in order, programs in order, and its end.
#include "cpu/executor.hpp"

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <future>
#include <numeric>

using namespace coel;
using cpu::executor;
using cpu::phase;
using cpu::program;
using cpu::tile_context;

namespace {

/// Waits for the executor's calls: counts down to zero.
class latch {
 public:
  explicit latch(uint32_t n) : left_(n) {}
  void hit() {
    if (left_.fetch_sub(1) == 1)
      left_.notify_all();
  }
  void wait() {
    for (uint32_t n; (n = left_.load()) != 0;)
      left_.wait(n);
  }

 private:
  std::atomic<uint32_t> left_;
};

program one_tile(std::function<void()> work) {
  program p;
  p.phases.push_back({1, [work = std::move(work)](const tile_context&, uint32_t) { work(); }});
  return p;
}

} // namespace

BOOST_AUTO_TEST_SUITE(cpu_executor)

BOOST_AUTO_TEST_CASE(every_tile_runs_once_and_phases_do_not_overlap) {
  for (uint32_t threads : {1u, 2u, 7u}) {
    executor workers(threads, false);
    constexpr uint32_t tiles = 100;
    std::vector<int> first(tiles), second(tiles); // plain ints: the sanitizer sees a missing order
    std::atomic<bool> known{true};                // is every worker's number
    program p;
    p.phases.push_back({tiles, [&](const tile_context&, uint32_t t) { ++first[t]; }});
    p.phases.push_back({tiles, [&](const tile_context& c, uint32_t t) {
                          if (c.worker >= threads)
                            known = false;
                          second[t] += first[tiles - 1 - t];
                        }});
    p.phases.push_back({1, [&](const tile_context&, uint32_t) {
                          first[0] = std::accumulate(second.begin(), second.end(), 0);
                        }});
    latch done(1);
    workers.submit(std::move(p), [&](const cpu::run_times&) { done.hit(); });
    done.wait();
    BOOST_TEST(first[0] == static_cast<int>(tiles));
    BOOST_TEST(first[1] == 1);
    BOOST_TEST(known);
  }
}

BOOST_AUTO_TEST_CASE(programs_and_their_calls_come_in_the_order_of_submission) {
  for (uint32_t threads : {1u, 2u, 5u}) {
    executor workers(threads, false);
    constexpr int count = 500;
    std::vector<int> ran, called;
    latch done(count);
    for (int i = 0; i < count; ++i)
      workers.submit(one_tile([&ran, i] { ran.push_back(i); }), [&, i](const cpu::run_times&) {
        called.push_back(i);
        done.hit();
      });
    done.wait();
    std::vector<int> want(count);
    std::iota(want.begin(), want.end(), 0);
    BOOST_TEST(ran == want, boost::test_tools::per_element());
    BOOST_TEST(called == want, boost::test_tools::per_element());
    BOOST_TEST(workers.status().programs_run == count);
    BOOST_TEST(workers.status().waiting == 0u);
  }
}

BOOST_AUTO_TEST_CASE(many_threads_submit_at_once) {
  executor workers(3, false);
  constexpr uint32_t callers = 4, each = 200, tiles = 5;
  std::atomic<uint32_t> tiles_run{0};
  std::vector<std::vector<uint32_t>> order(callers);
  latch done(callers * each);
  std::vector<std::thread> threads;
  for (uint32_t c = 0; c < callers; ++c)
    threads.emplace_back([&, c] {
      for (uint32_t i = 0; i < each; ++i) {
        program p;
        p.phases.push_back({tiles, [&](const tile_context&, uint32_t) { ++tiles_run; }});
        workers.submit(std::move(p), [&, c, i](const cpu::run_times&) {
          order[c].push_back(i); // calls come one at a time
          done.hit();
        });
      }
    });
  for (auto& t : threads)
    t.join();
  done.wait();
  BOOST_TEST(tiles_run == callers * each * tiles);
  for (const auto& o : order)
    BOOST_TEST(std::is_sorted(o.begin(), o.end()));
}

BOOST_AUTO_TEST_CASE(a_call_may_submit_the_next_program) {
  for (uint32_t threads : {1u, 2u}) {
    executor workers(threads, false);
    int steps = 0;
    latch done(1);
    std::function<void(const cpu::run_times&)> next = [&](const cpu::run_times&) {
      if (++steps == 1000)
        done.hit();
      else
        workers.submit(one_tile([] {}), next);
    };
    workers.submit(one_tile([] {}), next);
    done.wait();
    BOOST_TEST(steps == 1000);
  }
}

BOOST_AUTO_TEST_CASE(a_program_without_phases_takes_its_turn) {
  executor workers(2, false);
  std::vector<int> order;
  latch done(3);
  auto note = [&](int i) {
    return [&, i](const cpu::run_times&) {
      order.push_back(i);
      done.hit();
    };
  };
  workers.submit(one_tile([] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }),
                 note(0));
  workers.submit({}, note(1));
  workers.submit(one_tile([] {}), note(2));
  done.wait();
  BOOST_TEST(order == (std::vector<int>{0, 1, 2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_end_runs_what_is_queued) {
  for (uint32_t threads : {1u, 4u}) {
    std::atomic<int> called{0};
    {
      executor workers(threads, false);
      for (int i = 0; i < 50; ++i)
        workers.submit(one_tile([] { std::this_thread::yield(); }),
                       [&](const cpu::run_times&) { ++called; });
    }
    BOOST_TEST(called == 50);
  }
}

BOOST_AUTO_TEST_CASE(a_call_may_end_the_executor) {
  for (uint32_t threads : {1u, 2u, 4u}) {
    std::promise<void> ended;
    std::promise<void> drained;
    auto workers = std::make_unique<executor>(threads, false);
    executor* raw = workers.get();
    std::promise<void> queued;
    auto both_queued = queued.get_future().share();
    raw->submit(one_tile([both_queued] { both_queued.wait(); }), [&](const cpu::run_times&) {
      workers.reset();
      ended.set_value();
    });
    raw->submit(one_tile([] {}), [&](const cpu::run_times&) { drained.set_value(); });
    queued.set_value();
    ended.get_future().wait();
    drained.get_future().wait();
  }
}

BOOST_AUTO_TEST_CASE(what_a_program_keeps_is_let_go_before_its_call) {
  executor workers(2, false);
  auto kept = std::make_shared<int>(1);
  program p = one_tile([] {});
  p.keeps = kept;
  std::promise<long> users;
  workers.submit(std::move(p), [&](const cpu::run_times&) { users.set_value(kept.use_count()); });
  BOOST_TEST(users.get_future().get() == 1);
}

BOOST_AUTO_TEST_CASE(sleeping_workers_wake_up) {
  executor workers(2, true);
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5)); // well past the spinning
    latch done(1);
    workers.submit(one_tile([] {}), [&](const cpu::run_times&) { done.hit(); });
    done.wait();
  }
  BOOST_TEST(workers.status().programs_run == 3u);
}

BOOST_AUTO_TEST_SUITE_END()
