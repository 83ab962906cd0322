// A model of which a part is in memory: the same answers, within the budget, whatever the disk
// does.
#include "model/memory_needs.hpp"
#include "tier_world.hpp"

#include <boost/test/data/test_case.hpp>

#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <malloc.h>
#include <random>
#include <set>

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

const std::string story = "Once upon a time, there was a little girl named Lily. She";

/// More rows than a prompt needs to ask for whole layers, and fewer than a step takes.
std::vector<int32_t> long_prompt(const tier_world& w) {
  std::string text;
  while (text.size() < 700)
    text += story + " went to the park with her mom. ";
  auto tokens = w.tokens_of(text);
  tokens.resize(std::min<size_t>(tokens.size(), 120));
  return tokens;
}

bool told(const std::optional<error>& failure, const std::string& part) {
  return failure && failure->message.find(part) != std::string::npos;
}

/// From the model's own file, and from a store.
const auto both_ways = boost::unit_test::data::make({false, true});

bool ready(tier_world& w, bool stored) {
  if (!stored)
    return true;
  if (w.can_pack())
    w.pack();
  else
    BOOST_TEST_MESSAGE("not tried: this processor's kernels have no layout of their own");
  return w.can_pack();
}

uint64_t uses(const tiering_status& t) {
  uint64_t sum = 0;
  for (const auto& l : t.layers)
    sum += l.hits + l.foreseen + l.late + l.misses;
  return sum;
}
uint64_t misses(const tiering_status& t) {
  uint64_t sum = 0;
  for (const auto& l : t.layers)
    sum += l.late + l.misses;
  return sum;
}

/// Watches, as long as it lives, that neither account nor device pass the budget.
class watch {
 public:
  explicit watch(tier_world& w) : world_(w), thread_([this] { look(); }) {}
  ~watch() { end(); }
  uint64_t end() {
    over_ = true;
    if (thread_.joinable())
      thread_.join();
    return looks_;
  }
  uint64_t most_used = 0, most_resident = 0;
  uint64_t most_memory = 0; ///< of the process

 private:
  void look() {
    while (!over_ || looks_ == 0) {
      caf::scoped_actor self{world_.system};
      self->request(world_.ram, patience, atom::details::value)
          .receive([&](const tier_status& s) { most_used = std::max(most_used, s.used_bytes); },
                   [](caf::error&) {});
      most_resident = std::max(most_resident, world_.device->status().resident_bytes);
      most_memory = std::max(most_memory, model::resident_memory());
      ++looks_;
    }
  }
  tier_world& world_;
  std::atomic<bool> over_{false};
  std::atomic<uint64_t> looks_{0};
  std::thread thread_;
};

/// What is in use while nothing happens, without what the heaps keep for later.
uint64_t settled_memory() {
  ::malloc_trim(0);
  return model::resident_memory();
}

size_t open_files() {
  std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(all), end(all)));
}

/// Of the control group of this process, page cache included, where it has one to itself
/// (bench/limited.sh); the most it has held, and what it may.
struct group_memory {
  uint64_t peak = 0, limit = 0;
};
std::optional<group_memory> own_group() {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    bool two = line.starts_with("0::");
    if (!two && line.find(":memory:") == std::string::npos)
      continue;
    auto group =
        (two ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory") + line.substr(line.rfind(':') + 1) + "/";
    auto number = [&](const char* name) {
      uint64_t n = 0;
      std::ifstream(group + name) >> n;
      return n;
    };
    std::ifstream who(group + "cgroup.procs");
    std::vector<pid_t> members{std::istream_iterator<pid_t>(who), {}};
    group_memory m{number(two ? "memory.peak" : "memory.max_usage_in_bytes"),
                   number(two ? "memory.max" : "memory.limit_in_bytes")};
    if (members == std::vector<pid_t>{::getpid()} && m.peak > 0 && m.limit > 0)
      return m;
  }
  return {};
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(tiers, tier_world)

BOOST_DATA_TEST_CASE_F(tier_world, answers_do_not_depend_on_what_is_in_memory, both_ways, stored) {
  if (!ready(*this, stored))
    return;
  auto prompt = tokens_of(story);
  auto expected = in_memory(prompt, 60);
  for (double share : {0.5, 0.25, 0.125}) {
    BOOST_TEST_CONTEXT(share << " of the experts in memory") {
      BOOST_REQUIRE(serve(share).ok());
      auto got = ask(prompt, 60);
      BOOST_REQUIRE_MESSAGE(!got.failure, (got.failure ? got.failure->message : ""));
      BOOST_TEST(got.tokens == expected, boost::test_tools::per_element());
      auto t = tiering();
      BOOST_TEST(t.here < t.experts);
      BOOST_TEST(misses(t) > 0u);
    }
  }
}

BOOST_DATA_TEST_CASE_F(tier_world, sessions_and_prompts_together_stay_within_the_budget, both_ways,
                       stored) {
  if (!ready(*this, stored))
    return;
  auto prompt = tokens_of(story), longer = long_prompt(*this);
  auto expected = in_memory(prompt, 40), after = in_memory(longer, 10);
  for (double share : {0.5, 0.125}) {
    BOOST_REQUIRE(serve(share).ok());
    auto budget = status().budget_bytes;
    auto idle = device->status().resident_bytes;
    const auto& plan = hosted.model->tiered->plan;
    watch eyes(*this);
    std::vector<std::shared_ptr<listener>> short_ones, long_ones;
    for (int i = 0; i < 3; ++i) {
      short_ones.push_back(begin(prompt, 40));
      long_ones.push_back(begin(longer, 10));
    }
    for (auto& l : short_ones)
      BOOST_TEST(l->wait().tokens == expected, boost::test_tools::per_element());
    for (auto& l : long_ones)
      BOOST_TEST(l->wait().tokens == after, boost::test_tools::per_element());
    BOOST_TEST(eyes.end() > 0u);
    BOOST_TEST(eyes.most_used <= budget);
    BOOST_TEST(eyes.most_resident <= idle + plan.cache_bytes + plan.transient_bytes);
  }
}

BOOST_DATA_TEST_CASE_F(tier_world, a_prompt_reads_each_expert_once, both_ways, stored) {
  if (!ready(*this, stored))
    return;
  auto prompt = long_prompt(*this);
  BOOST_REQUIRE(serve(0.125).ok());
  mood->take_begun();
  auto got = ask(prompt, 1); // one step
  BOOST_REQUIRE(!got.failure);
  auto begun = mood->take_begun();
  std::set<uint64_t> once(begun.begin(), begun.end());
  BOOST_TEST(begun.size() > 10u);
  BOOST_TEST(begun.size() <= once.size() + once.size() / 20); // a few ahead, in vain
}

BOOST_AUTO_TEST_CASE(a_damaged_expert_of_a_store_is_an_error_and_never_a_wrong_token) {
  if (!ready(*this, true))
    return;
  auto prompt = tokens_of(story);
  auto expected = in_memory(prompt, 40);
  auto store =
      *model::expert_store::open(read_from, *model::open_model(file), *compute::layout_of(*device));
  {
    std::fstream change(read_from, std::ios::in | std::ios::out | std::ios::binary);
    for (uint16_t e = 0; e < 16; e += 2) { // some of these will be chosen
      change.seekp(static_cast<std::streamoff>(store->piece({layer_id{1}, expert_id{e}}).offset));
      change << "these are not the bytes that were packed";
    }
  }
  BOOST_REQUIRE(serve(0.125).ok());
  auto got = ask(prompt, 40);
  BOOST_REQUIRE(got.failure.has_value());
  BOOST_TEST(told(got.failure, "coel pack"));
  BOOST_TEST(told(got.failure, read_from.string()));
  BOOST_TEST(std::equal(got.tokens.begin(), got.tokens.end(), expected.begin()));
  stop_all();
  pack();
  BOOST_REQUIRE(serve(0.125).ok());
  BOOST_TEST(ask(prompt, 40).tokens == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_store_of_another_model_is_left_alone_unless_it_was_named) {
  if (!ready(*this, true))
    return;
  std::filesystem::resize_file(file, std::filesystem::file_size(file) + 32); // as of another export
  BOOST_REQUIRE(serve(0.25).ok());
  BOOST_REQUIRE_EQUAL(notes.size(), 1u);
  BOOST_TEST(notes.front().find("another model") != std::string::npos);
  BOOST_TEST(!hosted.model->tiered->store);
  BOOST_TEST(!ask(tokens_of(story), 5).failure);
  tiering_choice choice;
  choice.expert_share = 0.25;
  choice.stores.named = {read_from};
  auto got = serve(choice);
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST(got.err().message.find("another model") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_is_chosen_often_stays) {
  BOOST_REQUIRE(serve(0.5).ok());
  auto prompt = tokens_of(story);
  (void)ask(prompt, 100);
  auto before = tiering();
  (void)ask(prompt, 100);
  auto after = tiering();
  double used = static_cast<double>(uses(after) - uses(before));
  double found = used - static_cast<double>(misses(after) - misses(before));
  BOOST_TEST(after.tokens - before.tokens >= 100u);
  BOOST_TEST(found / used > 0.55); // a loop over the layers leaves LRU none but luck
}

BOOST_DATA_TEST_CASE_F(tier_world, a_read_that_fails_once_is_tried_again, both_ways, stored) {
  if (!ready(*this, stored))
    return;
  auto prompt = tokens_of(story);
  auto expected = in_memory(prompt, 30);
  BOOST_REQUIRE(serve(0.25).ok());
  auto count = std::make_shared<std::atomic<int>>(0);
  mood->is([count](int64_t truth) { // too far apart to meet one read three times
    auto now = ++*count;
    return now == 3 || now == 20 || now == 41 ? -EIO : truth;
  });
  auto got = ask(prompt, 30);
  BOOST_REQUIRE_MESSAGE(!got.failure, (got.failure ? got.failure->message : ""));
  BOOST_TEST(got.tokens == expected, boost::test_tools::per_element());
  BOOST_TEST(*count > 41);
}

BOOST_DATA_TEST_CASE_F(tier_world, a_disk_that_fails_is_an_error_and_the_next_request_is_served,
                       both_ways, stored) {
  if (!ready(*this, stored))
    return;
  auto prompt = tokens_of(story);
  auto expected = in_memory(prompt, 30);
  BOOST_REQUIRE(serve(0.25).ok());
  for (int64_t lie : {int64_t{-EIO}, int64_t{-ENODEV}, int64_t{0}}) { // 0: the file ends here
    mood->is([lie](int64_t) { return lie; });
    auto got = ask(prompt, 30);
    BOOST_REQUIRE(got.failure.has_value());
    BOOST_TEST(told(got.failure, "tiny.gguf"));
    BOOST_TEST(told(got.failure, "expert"));
    BOOST_TEST(std::equal(got.tokens.begin(), got.tokens.end(), expected.begin()));
    mood->is({});
    got = ask(prompt, 30);
    BOOST_REQUIRE_MESSAGE(!got.failure, (got.failure ? got.failure->message : ""));
    BOOST_TEST(got.tokens == expected, boost::test_tools::per_element());
  }
  BOOST_TEST(tiering().failed_reads > 0u);
}

BOOST_DATA_TEST_CASE_F(tier_world, a_disk_that_fails_now_and_then_never_makes_a_wrong_token,
                       both_ways, stored) {
  if (!ready(*this, stored))
    return;
  auto prompt = tokens_of(story);
  auto expected = in_memory(prompt, 20);
  BOOST_REQUIRE(serve(0.125).ok());
  auto state = std::make_shared<std::atomic<uint32_t>>(1);
  mood->is([state](int64_t truth) {
    auto x = state->fetch_add(0x9e3779b9u) * 2654435761u >> 28;
    return x < 8 ? -EIO : x < 10 ? truth / 8192 * 4096 : truth;
  });
  int failed = 0;
  for (int i = 0; i < 12; ++i) {
    auto got = ask(prompt, 20);
    BOOST_TEST(std::equal(got.tokens.begin(), got.tokens.end(), expected.begin()));
    BOOST_TEST((got.failure.has_value() || got.tokens.size() == expected.size()));
    failed += got.failure.has_value();
  }
  BOOST_TEST(failed > 0);
  mood->is({});
  BOOST_TEST(ask(prompt, 20).tokens == expected, boost::test_tools::per_element());
}

BOOST_DATA_TEST_CASE_F(tier_world, a_slow_disk_gives_a_slower_answer, both_ways, stored) {
  if (!ready(*this, stored))
    return;
  auto prompt = tokens_of(story);
  auto expected = in_memory(prompt, 8);
  BOOST_REQUIRE(serve(0.25).ok());
  mood->is([](int64_t truth) {
    std::this_thread::sleep_for(3ms);
    return truth;
  });
  BOOST_TEST(ask(prompt, 8).tokens == expected, boost::test_tools::per_element());
}

BOOST_DATA_TEST_CASE_F(tier_world, a_file_that_is_removed_is_read_to_the_end, both_ways, stored) {
  if (!ready(*this, stored))
    return;
  auto prompt = tokens_of(story);
  auto expected = in_memory(prompt, 30);
  BOOST_REQUIRE(serve(0.25).ok());
  std::filesystem::rename(read_from, folder.path / "elsewhere");
  std::ofstream(read_from) << "another file";
  auto got = ask(prompt, 30);
  BOOST_REQUIRE_MESSAGE(!got.failure, (got.failure ? got.failure->message : ""));
  BOOST_TEST(got.tokens == expected, boost::test_tools::per_element());
}

BOOST_DATA_TEST_CASE_F(tier_world, a_file_that_is_cut_short_is_an_error, both_ways, stored) {
  if (!ready(*this, stored))
    return;
  auto prompt = tokens_of(story);
  BOOST_REQUIRE(serve(0.25).ok());
  std::filesystem::resize_file(read_from, std::filesystem::file_size(read_from) / 3);
  auto got = ask(prompt, 30);
  BOOST_REQUIRE(got.failure.has_value());
  BOOST_TEST(told(got.failure, "tiny.gguf"));
}

BOOST_DATA_TEST_CASE_F(tier_world, a_file_that_is_written_to_is_an_error, both_ways, stored) {
  if (!ready(*this, stored))
    return;
  auto prompt = tokens_of(story);
  BOOST_REQUIRE(serve(0.25).ok());
  {
    std::fstream change(read_from, std::ios::in | std::ios::out | std::ios::binary);
    change.seekp(-1000, std::ios::end);
    change << "these are not the weights that were opened";
  }
  auto got = ask(prompt, 30);
  BOOST_REQUIRE(got.failure.has_value());
  BOOST_TEST(told(got.failure, "tiny.gguf"));
}

BOOST_DATA_TEST_CASE_F(tier_world, cancelled_requests_leave_nothing_behind, both_ways, stored) {
  if (!ready(*this, stored))
    return;
  auto prompt = tokens_of(story), longer = long_prompt(*this);
  auto expected = in_memory(prompt, 30);
  BOOST_REQUIRE(serve(0.125).ok());
  for (int i = 0; i < 10; ++i) {
    session_actor one, two;
    auto first = begin(prompt, 200, &one), second = begin(longer, 100, &two);
    first->wait_for_tokens(static_cast<size_t>(i + 1));
    caf::anon_send(one, atom::cancel::value);
    caf::anon_send(two, atom::cancel::value);
    first->wait();
    second->wait();
  }
  BOOST_TEST(ask(prompt, 30).tokens == expected, boost::test_tools::per_element());
  auto now = status();
  BOOST_TEST(now.used_bytes <= now.budget_bytes);
}

/// COEL_TIERS_SOAK_S: for so many seconds, instead of two. In a control group of its own
/// (bench/limited.sh) its limit is checked too.
BOOST_DATA_TEST_CASE_F(tier_world, a_mixed_load_neither_passes_the_budget_nor_leaks_nor_errs,
                       both_ways, stored) {
  if (!ready(*this, stored))
    return;
  std::vector<std::vector<int32_t>> prompts{tokens_of(story), long_prompt(*this)};
  for (auto text : {"Tom had a red car. One day", "The big dog was sad because", "Mom and Dad"})
    prompts.push_back(tokens_of(text));
  constexpr uint32_t longest = 60;
  std::vector<std::vector<int32_t>> expected;
  for (const auto& p : prompts)
    expected.push_back(in_memory(p, longest));
  BOOST_REQUIRE(serve(0.25).ok());
  auto budget = status().budget_bytes, idle = device->status().resident_bytes;
  const auto plan = hosted.model->tiered->plan;
  mood->is([n = std::make_shared<std::atomic<uint32_t>>(0)](int64_t truth) {
    auto i = ++*n;
    if (i % 97 == 0)
      std::this_thread::sleep_for(2ms);
    return i % 211 == 0 ? -EIO : truth;
  });
  const char* asked = std::getenv("COEL_TIERS_SOAK_S");
  auto until = steady::now() + std::chrono::seconds(asked ? std::atoi(asked) : 2);
  watch eyes(*this);
  std::mt19937 random(1);
  size_t answers = 0, whole = 0;
  uint64_t memory_before = 0, files_before = 0;
  constexpr size_t warm = 20; // answers after which all that is made once has been made
  while (steady::now() < until || answers < 2 * warm) {
    struct talk {
      size_t prompt;
      uint32_t n;
      session_actor who;
      std::shared_ptr<listener> hears;
      bool cancelled = false;
    };
    std::vector<talk> talks(1 + random() % 5);
    for (auto& t : talks) {
      t.prompt = random() % prompts.size();
      t.n = 1 + random() % longest;
      t.hears = begin(prompts[t.prompt], t.n, &t.who);
    }
    for (auto& t : talks)
      if (random() % 4 == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(random() % 10));
        caf::anon_send(t.who, atom::cancel::value);
        t.cancelled = true;
      }
    for (auto& t : talks) {
      auto got = t.hears->wait();
      BOOST_REQUIRE(got.tokens.size() <= t.n);
      BOOST_REQUIRE(std::equal(got.tokens.begin(), got.tokens.end(), expected[t.prompt].begin()));
      bool all = got.tokens.size() == t.n;
      BOOST_REQUIRE((all || got.failure || t.cancelled));
      whole += all;
      ++answers;
    }
    if (answers >= warm && !memory_before) {
      memory_before = settled_memory();
      files_before = open_files();
    }
  }
  BOOST_TEST(eyes.end() > 0u);
  BOOST_TEST(whole > answers / 4);
  BOOST_TEST(eyes.most_used <= budget);
  BOOST_TEST(eyes.most_resident <= idle + plan.cache_bytes + plan.transient_bytes);
  BOOST_TEST(eyes.most_memory <= budget);
  constexpr uint64_t noise = uint64_t{48} << 20; // heaps of threads
  BOOST_TEST(settled_memory() <= memory_before + noise);
  BOOST_TEST(open_files() <= files_before);
  auto group = own_group();
  if (group)
    BOOST_TEST(group->peak < group->limit); // else it was short of memory
  auto mib = [](uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; };
  BOOST_TEST_MESSAGE(answers << " answers, " << whole << " whole; most memory "
                             << mib(eyes.most_memory) << " of " << mib(budget) << ", at rest "
                             << mib(memory_before) << " and then " << mib(settled_memory())
                             << (group ? "; its group held " + mib(group->peak) : ""));
}

BOOST_AUTO_TEST_CASE(what_the_predictor_learnt_is_kept_and_damage_to_it_is_survived) {
  auto prompt = tokens_of(story);
  auto expected = in_memory(prompt, 30);
  BOOST_REQUIRE(serve(0.25).ok());
  (void)ask(prompt, 100);
  stop_all();
  auto kept = folder.path / "tiny.predictor";
  BOOST_REQUIRE(std::filesystem::exists(kept));
  for (double cut : {1.0, 0.5, 0.0}) { // whole, torn, empty
    auto size = std::filesystem::file_size(kept);
    std::filesystem::resize_file(kept, static_cast<uint64_t>(cut * static_cast<double>(size)));
    std::ofstream(kept.string() + ".new") << "left by a crash";
    BOOST_REQUIRE(serve(0.25).ok());
    BOOST_TEST(ask(prompt, 30).tokens == expected, boost::test_tools::per_element());
    stop_all();
    BOOST_TEST(!std::filesystem::exists(kept.string() + ".new"));
  }
}

BOOST_AUTO_TEST_CASE(too_little_memory_is_refused_with_what_would_do) {
  tiering_choice choice;
  choice.ram_bytes = uint64_t{1} << 20;
  auto got = serve(choice);
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST((got.err().code == ec::out_of_memory));
  BOOST_TEST(got.err().message.find("Give --ram") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
