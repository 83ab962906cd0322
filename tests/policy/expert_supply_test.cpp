#include "policy/expert_supply.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>
#include <set>

using namespace coel;
using namespace coel::policy;

namespace {

using what = supply_order::what;

expert_key key(uint32_t l, uint32_t e) {
  return {static_cast<layer_id>(l), static_cast<expert_id>(e)};
}

/// A node around a supply: a disk and loaders that answer when and as they like, gates that run
/// what they are lent. Checks every order as it comes.
struct world {
  struct job {
    expert_key key;
    bool packing = false, cancelled = false;
    bool lazy = false; ///< it is read ahead, and keeps it to itself
  };
  struct step {
    std::vector<expert_key> wanted;
    std::vector<uint8_t> lower; ///< of these: runs as a copy
    size_t lent = 0, ran = 0;
    std::map<expert_key, uint32_t> failures; ///< of jobs for it, since it began
  };

  std::mt19937 random;
  cache_shape shape;
  std::vector<uint64_t> bytes;
  supply_limits limits;
  expert_supply supply;
  std::map<uint64_t, job> jobs;
  std::map<uint64_t, step> steps;
  std::set<expert_key> here;
  std::vector<expert_key> leaving; ///< some lease still has their memory
  std::set<uint64_t> over;
  uint64_t next_step = 1;
  uint64_t failing_job = 0;
  size_t fails = 0, evictions = 0, lends = 0, copies = 0;
  bool with_copies;    ///< of fewer bits, of some
  uint64_t before = 0; ///< of its memory

  static std::vector<uint64_t> sizes(std::mt19937& random, cache_shape shape) {
    std::vector<uint64_t> out;
    for (size_t i = 0; i < shape.slots(); ++i)
      out.push_back(3 + random() % 3);
    return out;
  }
  static supply_limits some_limits(std::mt19937& random) {
    uint32_t jobs = 1 + random() % 5;
    return {5 + random() % 60, jobs, static_cast<uint32_t>(random() % jobs)};
  }

  explicit world(uint32_t seed)
      : random(seed), shape{2 + static_cast<uint32_t>(random() % 3), 8},
        bytes(sizes(random, shape)), limits(some_limits(random)),
        supply(shape, bytes, limits, activation_aware(shape)), with_copies(random() % 2) {}

  uint64_t size(expert_key k) const { return bytes[shape.slot(k)]; }
  uint64_t memory() const {
    uint64_t sum = 0;
    for (auto k : here)
      sum += size(k);
    for (auto k : leaving)
      sum += size(k);
    for (const auto& [id, j] : jobs)
      sum += size(j.key);
    return sum;
  }
  bool lent(expert_key k) const {
    for (const auto& [id, s] : steps)
      for (size_t i = s.ran; i < s.lent; ++i)
        if (s.wanted[i] == k && !s.lower[i])
          return true;
    return false;
  }

  void obey() {
    for (auto orders = supply.take_orders(); !orders.empty(); orders = supply.take_orders())
      for (const auto& o : orders)
        obey(o);
    if (memory() > limits.pool_bytes) // since it became smaller, or one step gets its one expert
      BOOST_REQUIRE_LE(memory(), std::max<uint64_t>(before, 5));
    before = memory();
    BOOST_REQUIRE_EQUAL(memory(), supply.used_bytes());
    BOOST_REQUIRE_LE(jobs.size(), limits.jobs);
  }

  void obey(const supply_order& o) {
    switch (o.kind) {
    case what::read:
      BOOST_REQUIRE(jobs.emplace(o.job, job{o.key, false, false, o.ahead}).second);
      BOOST_REQUIRE(!here.count(o.key));
      for (const auto& [id, j] : jobs)
        BOOST_REQUIRE((id == o.job || !(j.key == o.key))); // one job for an expert
      break;
    case what::hurry:
      BOOST_REQUIRE(!jobs.at(o.job).packing);
      jobs.at(o.job).lazy = false;
      break;
    case what::ready:
      BOOST_REQUIRE(!jobs.at(o.job).packing);
      jobs.at(o.job).lazy = false;
      break;
    case what::cancel:
      BOOST_REQUIRE(!jobs.at(o.job).packing);
      jobs.at(o.job).cancelled = true;
      jobs.at(o.job).lazy = false;
      break;
    case what::pack:
      jobs.at(o.job).packing = true;
      jobs.at(o.job).lazy = false;
      break;
    case what::drop:
      BOOST_REQUIRE(!waited_for(o.key));
      jobs.erase(o.job);
      break;
    case what::lend: {
      auto& s = steps.at(o.step); // an open one
      BOOST_REQUIRE(s.lent < s.wanted.size());
      BOOST_REQUIRE((s.wanted[s.lent] == o.key));
      BOOST_REQUIRE_EQUAL(o.lower, s.lower[s.lent] != 0);
      BOOST_REQUIRE((o.lower || here.count(o.key)));
      copies += o.lower;
      ++s.lent;
      ++lends;
      break;
    }
    case what::fail: {
      auto& s = steps.at(o.step); // an open one: no second error
      BOOST_REQUIRE_GE(s.failures[o.key], 2u);
      BOOST_REQUIRE_EQUAL(o.job, failing_job);
      BOOST_REQUIRE_EQUAL(o.why.message, "disk " + std::to_string(o.job));
      close(o.step);
      ++fails;
      break;
    }
    case what::evict:
      BOOST_REQUIRE(!lent(o.key));
      BOOST_REQUIRE(here.erase(o.key));
      ++evictions;
      leaving.push_back(o.key);
      break;
    }
  }

  static bool waits_for(const step& s, expert_key k) {
    for (size_t i = s.lent; i < s.wanted.size(); ++i)
      if (s.wanted[i] == k && !s.lower[i])
        return true;
    return false;
  }
  bool waited_for(expert_key k) const {
    return std::any_of(steps.begin(), steps.end(),
                       [&](const auto& s) { return waits_for(s.second, k); });
  }
  void close(uint64_t id) {
    steps.erase(id);
    over.insert(id);
  }

  template <class Map>
  auto any(Map& of) {
    return std::next(of.begin(), static_cast<std::ptrdiff_t>(random() % of.size()));
  }

  void begin() {
    auto layer = static_cast<layer_id>(random() % shape.layers);
    std::vector<expert_use> uses;
    step s;
    bool prompt = random() % 5 == 0;
    for (uint32_t e = 0; e < shape.experts; ++e)
      if (random() % (prompt ? 8 : 3) == 0 || (prompt && random() % 4)) {
        uses.push_back({static_cast<expert_id>(e), 1});
        s.wanted.push_back({layer, static_cast<expert_id>(e)});
      }
    auto id = next_step++;
    std::vector<uint8_t> lower;
    for (auto k : s.wanted) {
      lower.push_back(with_copies && random() % 2);
      s.lower.push_back(lower.back() && !here.count(k));
    }
    steps[id] = s;
    auto how = supply.begin(id, layer, uses, 1, lower);
    for (size_t i = 0; i < how.size(); ++i)
      BOOST_REQUIRE_EQUAL(how[i] == expert_supply::found::lower, s.lower[i] != 0);
  }
  void run() {
    auto [id, s] = *any(steps);
    if (s.ran == s.lent)
      return;
    auto n = 1 + random() % (s.lent - s.ran);
    steps[id].ran += n;
    supply.ran(id, static_cast<uint32_t>(n));
  }
  void end() {
    auto id = any(steps)->first;
    close(id);
    supply.end(id);
  }
  void finish_job(uint64_t id, bool may_fail) {
    auto& j = jobs.at(id);
    auto k = j.key;
    bool fails_now = may_fail && random() % 4 == 0;
    bool cancelled = j.cancelled && !j.packing && random() % 2;
    if (!fails_now && !cancelled && !j.packing) {
      supply.was_read(id, {});
      return;
    }
    bool packing = j.packing;
    jobs.erase(id);
    result<void> outcome;
    if (fails_now) {
      failing_job = id;
      outcome = error{ec::io, "disk " + std::to_string(id)};
      for (auto& [number, s] : steps)
        if (waits_for(s, k))
          ++s.failures[k];
    } else if (cancelled) {
      outcome = error{ec::cancelled, "cancelled"};
    } else {
      here.insert(k);
    }
    packing ? supply.was_packed(id, outcome) : supply.was_read(id, outcome);
    if (fails_now)
      check_failed(k);
  }
  /// Whoever has seen it fail twice is told now.
  void check_failed(expert_key k) {
    obey();
    for (auto& [number, s] : steps)
      if (auto f = s.failures.find(k); f != s.failures.end())
        BOOST_REQUIRE_LT(f->second, 2u);
  }
  void free_one() {
    auto at = any(leaving);
    auto k = *at;
    leaving.erase(at);
    supply.freed(k);
  }
  void foresee() {
    std::vector<expert_supply::wish> wishes;
    for (uint32_t i = random() % 5; i > 0; --i)
      wishes.push_back({key(random() % shape.layers, random() % shape.experts),
                        0.3f + static_cast<float>(random() % 70) / 100});
    supply.foresee(wishes);
  }
  void resize() {
    limits.pool_bytes = random() % 4 ? random() % 60 : 0;
    supply.resize(limits.pool_bytes);
  }
  void late_word() { // of a job that is long through, and of steps that are over
    supply.was_read(100000, error{ec::io, "late"});
    supply.was_packed(100001, {});
    if (!over.empty()) {
      supply.ran(*over.begin(), 1);
      supply.end(*over.rbegin());
    }
  }

  void anything(bool resizes = false) {
    if (resizes && random() % 16 == 0)
      resize(), obey();
    auto dice = random() % 20;
    if (dice < 3 && steps.size() < 3)
      begin();
    else if (dice < 8 && !steps.empty())
      run();
    else if (dice < 9 && !steps.empty())
      end();
    else if (dice < 15 && !jobs.empty())
      finish_job(any(jobs)->first, true);
    else if (dice < 17 && !leaving.empty())
      free_one();
    else if (dice < 19)
      foresee();
    else
      late_word();
    obey();
  }

  /// The disk is well again and gates go on: every step must be through.
  void let_all_end() {
    for (size_t i = 0; i < 4000 && !steps.empty(); ++i) {
      while (!leaving.empty())
        free_one(), obey();
      for (auto all = jobs; const auto& [id, j] : all)
        if (jobs.count(id) && !jobs.at(id).lazy)
          finish_job(id, false), obey();
      for (auto all = steps; auto& [id, s] : all) {
        supply.ran(id, static_cast<uint32_t>(s.lent - s.ran));
        steps[id].ran = s.lent;
        obey();
        if (steps[id].ran == steps[id].wanted.size()) {
          close(id);
          supply.end(id);
          obey();
        }
      }
    }
    BOOST_REQUIRE(steps.empty());
  }
};

/// One expert of one byte each, in a pool of that many.
expert_supply small(uint64_t pool, uint32_t jobs = 4, uint32_t ahead = 2) {
  cache_shape shape{2, 8};
  return {
      shape, std::vector<uint64_t>(shape.slots(), 1), {pool, jobs, ahead}, activation_aware(shape)};
}
std::vector<expert_use> uses(std::initializer_list<uint32_t> of) {
  std::vector<expert_use> out;
  for (auto e : of)
    out.push_back({static_cast<expert_id>(e), 1});
  return out;
}
std::vector<supply_order> of_kind(const std::vector<supply_order>& all, what kind) {
  std::vector<supply_order> out;
  std::copy_if(all.begin(), all.end(), std::back_inserter(out),
               [&](const supply_order& o) { return o.kind == kind; });
  return out;
}
/// Brings all that is being read; what it was told meanwhile.
std::vector<supply_order> bring(expert_supply& s, std::vector<supply_order> orders) {
  std::vector<supply_order> all;
  while (!orders.empty()) {
    auto now = std::exchange(orders, {});
    for (const auto& o : now) {
      if (o.kind == what::read)
        s.was_read(o.job, {});
      else if (o.kind == what::pack)
        s.was_packed(o.job, {});
      else if (o.kind == what::evict)
        s.freed(o.key);
      else
        all.push_back(o);
    }
    orders = s.take_orders();
  }
  return all;
}

} // namespace

BOOST_AUTO_TEST_SUITE(supply_of_experts)

BOOST_AUTO_TEST_CASE(holds_its_promises_whatever_happens) {
  size_t fails = 0, evictions = 0, lends = 0, copies = 0;
  for (uint32_t seed = 1; seed <= 2000; ++seed) {
    world w(seed);
    BOOST_TEST_CONTEXT("seed " << seed) {
      for (int i = 0; i < 400; ++i)
        w.anything();
      w.let_all_end();
    }
    fails += w.fails;
    evictions += w.evictions;
    lends += w.lends;
    copies += w.copies;
  }
  BOOST_TEST(fails > 1000u); // else it has tried little
  BOOST_TEST(evictions > 20000u);
  BOOST_TEST(lends > 20000u);
  BOOST_TEST(copies > 2000u);
}

BOOST_AUTO_TEST_CASE(what_runs_as_a_copy_waits_for_nothing_and_is_read_if_it_is_worth_its_room) {
  auto s = small(2);
  std::vector<uint8_t> second{0, 1};
  for (uint64_t step = 1; step <= 80; ++step) { // 0 and 1 fill the pool; 1 was used once
    s.begin(step, layer_id{0}, step == 1 ? uses({0, 1}) : uses({0}), 1);
    (void)bring(s, s.take_orders());
    s.end(step);
  }
  auto found = s.begin(81, layer_id{0}, uses({0, 5}), 1, second);
  BOOST_TEST((found[1] == expert_supply::found::lower));
  auto orders = s.take_orders();
  auto lent = of_kind(orders, what::lend);
  BOOST_REQUIRE_EQUAL(lent.size(), 2u); // at once, in order
  BOOST_TEST(!lent[0].lower);
  BOOST_TEST(lent[1].lower);
  s.ran(81, 2);
  s.end(81);
  (void)bring(s, orders);
  for (uint64_t step = 82; step <= 100; ++step) { // 5 is chosen again and again
    s.begin(step, layer_id{0}, uses({0, 5}), 1, second);
    (void)bring(s, s.take_orders());
    s.end(step);
  }
  BOOST_TEST((s.is(key(0, 5)) == expert_supply::state::resident));
  BOOST_TEST((s.is(key(0, 1)) == expert_supply::state::absent));
  found = s.begin(101, layer_id{0}, uses({0, 5}), 1, second);
  BOOST_TEST((found[1] == expert_supply::found::here)); // exact where it can be
  s.end(101);
  for (uint64_t step = 102; step <= 140; ++step) {
    s.begin(step, layer_id{0}, uses({0, 5}), 1);
    s.end(step);
  }
  s.begin(141, layer_id{0}, uses({0, 7}), 1, second);
  BOOST_TEST(of_kind(s.take_orders(), what::read).empty()); // worth less than both
  BOOST_TEST((s.is(key(0, 5)) == expert_supply::state::resident));
}

BOOST_AUTO_TEST_CASE(what_is_kept_for_its_worth_is_never_read_and_left) {
  auto s = small(4, 2, 1);
  std::vector<uint8_t> copy{1};
  s.begin(1, layer_id{0}, uses({3}), 1, copy);
  auto first = of_kind(s.take_orders(), what::read); // the only one that nobody waits for
  s.begin(2, layer_id{0}, uses({4}), 1, copy);
  std::vector<expert_supply::wish> wish{{key(0, 4), 0.5f}};
  s.foresee(wish); // now for two reasons
  BOOST_TEST(of_kind(s.take_orders(), what::read).empty());
  s.end(1);
  s.end(2);
  s.was_read(first.at(0).job, {});
  auto orders = s.take_orders();
  auto packs = of_kind(orders, what::pack);
  BOOST_REQUIRE_EQUAL(packs.size(), 1u);
  s.was_packed(packs[0].job, {});
  auto second = of_kind(s.take_orders(), what::read);
  BOOST_REQUIRE_EQUAL(second.size(), 1u);
  BOOST_TEST((second[0].key == key(0, 4)));
  BOOST_TEST(!second[0].ahead); // or it would wait for a step that asks
}

BOOST_AUTO_TEST_CASE(what_was_being_read_ahead_is_read_to_its_end_when_its_copy_runs) {
  auto s = small(4);
  std::vector<expert_supply::wish> wish{{key(0, 3), 0.5f}};
  s.foresee(wish);
  auto read = of_kind(s.take_orders(), what::read);
  BOOST_REQUIRE_EQUAL(read.size(), 1u);
  BOOST_TEST(read[0].ahead);
  s.begin(1, layer_id{0}, uses({3}), 1, std::vector<uint8_t>{1});
  auto orders = s.take_orders();
  BOOST_TEST(of_kind(orders, what::cancel).empty());
  BOOST_TEST(of_kind(orders, what::hurry).empty()); // nobody waits
  BOOST_TEST(of_kind(orders, what::ready).size() == 1u);
  s.end(1);
  s.was_read(read[0].job, {});
  (void)bring(s, s.take_orders());
  BOOST_TEST((s.is(key(0, 3)) == expert_supply::state::resident));
}

BOOST_AUTO_TEST_CASE(a_pool_that_changes_its_size_serves_every_step_and_has_no_more_in_the_end) {
  size_t lends = 0;
  for (uint32_t seed = 1; seed <= 1000; ++seed) {
    world w(seed);
    BOOST_TEST_CONTEXT("seed " << seed) {
      for (int i = 0; i < 400; ++i)
        w.anything(true);
      w.let_all_end();
      w.limits.pool_bytes = seed % 2 ? 0 : 10;
      w.supply.resize(w.limits.pool_bytes);
      w.obey();
      for (int i = 0; i < 400 && (!w.jobs.empty() || !w.leaving.empty()); ++i) {
        while (!w.leaving.empty())
          w.free_one(), w.obey();
        for (auto all = w.jobs; const auto& [id, j] : all)
          if (w.jobs.count(id) && !w.jobs.at(id).lazy)
            w.finish_job(id, false), w.obey();
      }
      BOOST_TEST(w.memory() <= w.limits.pool_bytes);
    }
    lends += w.lends;
  }
  BOOST_TEST(lends > 5000u);
}

BOOST_AUTO_TEST_CASE(what_is_here_is_lent_at_once_and_in_order) {
  auto s = small(8);
  s.fill({key(0, 1), key(0, 3)});
  (void)bring(s, s.take_orders());
  BOOST_TEST(!s.filling());
  auto found = s.begin(1, layer_id{0}, uses({1, 2, 3}), 1);
  BOOST_TEST((found[0] == expert_supply::found::here));
  BOOST_TEST((found[1] == expert_supply::found::missing));
  auto orders = s.take_orders();
  BOOST_REQUIRE_EQUAL(of_kind(orders, what::lend).size(), 1u); // 3 waits its turn
  auto later = of_kind(bring(s, orders), what::lend);
  BOOST_REQUIRE_EQUAL(later.size(), 3u);
  BOOST_TEST((later[2].key == key(0, 3)));
}

BOOST_AUTO_TEST_CASE(a_failed_read_is_tried_once_more_and_then_fails_who_has_seen_both) {
  auto s = small(8);
  s.begin(1, layer_id{0}, uses({5}), 1);
  auto first = of_kind(s.take_orders(), what::read);
  BOOST_REQUIRE_EQUAL(first.size(), 1u);
  s.was_read(first[0].job, error{ec::io, "bad sector"});
  auto second = of_kind(s.take_orders(), what::read);
  BOOST_REQUIRE_EQUAL(second.size(), 1u);
  s.begin(2, layer_id{0}, uses({5}), 1); // comes in between
  s.was_read(second[0].job, error{ec::io, "bad sector"});
  auto orders = s.take_orders();
  auto failed = of_kind(orders, what::fail);
  BOOST_REQUIRE_EQUAL(failed.size(), 1u);
  BOOST_TEST(failed[0].step == 1u);
  BOOST_TEST(failed[0].why.message == "bad sector");
  auto lent = of_kind(bring(s, orders), what::lend); // the other's own second try
  BOOST_REQUIRE_EQUAL(lent.size(), 1u);
  BOOST_TEST(lent[0].step == 2u);
}

BOOST_AUTO_TEST_CASE(a_step_that_is_given_up_leaves_nothing) {
  auto s = small(2, 2);
  s.begin(1, layer_id{0}, uses({0, 1, 2, 3}), 1);
  auto orders = s.take_orders();
  s.end(1);
  for (const auto& o : of_kind(orders, what::read))
    s.was_read(o.job, error{ec::io, "late"});
  BOOST_TEST(s.used_bytes() == 0u);
  s.begin(2, layer_id{1}, uses({0, 1, 2, 3}), 1);
  orders = s.take_orders();
  BOOST_TEST(of_kind(orders, what::fail).empty());
  while (true) { // runs as it is lent
    auto lent = of_kind(bring(s, orders), what::lend);
    if (lent.empty())
      break;
    s.ran(2, static_cast<uint32_t>(lent.size()));
    orders = s.take_orders();
  }
  BOOST_TEST((s.is(key(1, 3)) == expert_supply::state::resident));
}

BOOST_AUTO_TEST_CASE(reading_ahead_takes_room_only_from_what_is_less_likely) {
  auto s = small(2);
  for (uint64_t step = 1; step <= 10; ++step) {
    s.begin(step, layer_id{0}, step == 1 ? uses({0, 1}) : uses({1}), 1);
    (void)bring(s, s.take_orders());
    s.end(step);
  }
  std::vector<expert_supply::wish> wish{{key(1, 4), 0.01f}};
  s.foresee(wish);
  BOOST_TEST(s.take_orders().empty()); // 0 is used once in ten times
  wish[0].probability = 0.9f;
  s.foresee(wish);
  (void)bring(s, s.take_orders());
  BOOST_TEST((s.is(key(0, 0)) == expert_supply::state::absent));
  BOOST_TEST((s.is(key(1, 4)) == expert_supply::state::resident));
  auto found = s.begin(11, layer_id{1}, uses({4}), 1);
  BOOST_TEST((found[0] == expert_supply::found::foreseen));
}

BOOST_AUTO_TEST_CASE(what_was_foreseen_in_vain_is_given_up) {
  auto s = small(4);
  std::vector<expert_supply::wish> wishes{{key(1, 4), 0.9f}, {key(1, 5), 0.8f}, {key(1, 6), 0.7f}};
  s.foresee(wishes);
  auto reads = of_kind(s.take_orders(), what::read);
  BOOST_REQUIRE_EQUAL(reads.size(), 2u); // two ahead at once
  s.begin(1, layer_id{1}, uses({5}), 1);
  auto orders = s.take_orders();
  auto cancelled = of_kind(orders, what::cancel), hurried = of_kind(orders, what::hurry);
  BOOST_REQUIRE_EQUAL(cancelled.size(), 1u);
  BOOST_TEST((cancelled[0].key == key(1, 4)));
  BOOST_REQUIRE_EQUAL(hurried.size(), 1u);
  BOOST_TEST((hurried[0].key == key(1, 5)));
  s.was_read(reads[0].job, error{ec::cancelled, "cancelled"});
  BOOST_TEST(s.take_orders().empty()); // 6 is forgotten too
  BOOST_TEST(s.used_bytes() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
