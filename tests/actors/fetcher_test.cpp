// A fetcher among neighbours that the test plays: who is asked for what, and what becomes of lies,
// silence and death.
#include "actors/errors.hpp"
#include "actors/fetcher.hpp"
#include "actors/node.hpp"
#include "model/manifest_files.hpp"

#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>

#include <atomic>
#include <deque>
#include <fstream>
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <unistd.h>

using namespace coel;
using namespace coel::actors;
using namespace std::chrono_literals;

namespace {

constexpr auto generous = 30s;
const std::filesystem::path demo_model =
    std::filesystem::path(COEL_SOURCE_DIR) / "models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf";

struct system_config : caf::actor_system_config {
  system_config() { configure(*this); }
};

/// Small chunks, so that there are many.
const model::manifest& description() {
  static const model::manifest made = [] {
    model::manifest_options how;
    how.chunk_bytes = 64 << 10;
    return *model::make_manifest(demo_model, how);
  }();
  return made;
}

std::vector<std::byte> right_bytes(const file_want& ask) {
  std::ifstream file(demo_model, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(ask.offset));
  std::vector<std::byte> bytes(ask.length);
  file.read(reinterpret_cast<char*>(bytes.data()), ask.length);
  return bytes;
}

using answering =
    std::function<caf::result<file_block>(neighbour_actor::pointer, const file_want&)>;

caf::result<file_block> right(neighbour_actor::pointer, const file_want& ask) {
  return file_block{std::filesystem::file_size(demo_model), right_bytes(ask)};
}

/// Answers one piece after another, a moment later; or none while it is closed.
struct front_desk {
  struct visitor {
    caf::typed_response_promise<file_block> promise;
    file_want ask;
  };
  std::deque<visitor> queue;
  size_t most = 0; ///< pieces that waited at once
  std::atomic<bool> closed = false;
  std::mutex mutex;
  std::vector<model::chunk_id> begun; ///< chunks in the order of their first pieces

  answering holding() {
    return [this](neighbour_actor::pointer me, const file_want& ask) -> caf::result<file_block> {
      std::lock_guard lock(mutex);
      auto promise = me->make_response_promise<file_block>();
      queue.push_back({promise, ask});
      most = std::max(most, queue.size());
      auto chunk =
          static_cast<model::chunk_id>(description().chunks_of({ask.file, ask.offset, 1}).first);
      if (description().place(chunk).offset == ask.offset)
        begun.push_back(chunk);
      me->delayed_send(me, 1ms, atom::tick::value);
      return promise;
    };
  }
  /// False: there is somebody, but not now.
  bool answer_oldest() {
    std::lock_guard lock(mutex);
    if (closed)
      return false;
    auto next = std::move(queue.front());
    queue.pop_front();
    next.promise.deliver(file_block{0, right_bytes(next.ask)});
    return true;
  }
  bool idle() {
    std::lock_guard lock(mutex);
    return queue.empty();
  }
  std::vector<model::chunk_id> chunks_begun() {
    std::lock_guard lock(mutex);
    return begun;
  }
};

using at_tick = std::function<bool()>;

neighbour_actor::behavior_type played(neighbour_actor::pointer self, answering answer,
                                      at_tick tick) {
  return {
      [](atom::status) { return component_status{}; },
      [](const guest_order&) -> caf::result<bool> {
        return to_caf({ec::io, "not played"});
      },
      [](atom::cancel, request_id) {},
      [](const app_answer&) {},
      [](const remote_dispatch&) -> caf::result<partial_sum> {
        return to_caf({ec::busy, "not played"});
      },
      [](const remote_output&) -> caf::result<partial_sum> {
        return to_caf({ec::busy, "not played"});
      },
      [](const stage_open&) -> caf::result<bool> {
        return to_caf({ec::busy, "not played"});
      },
      [](const stage_close&) {},
      [](const stage_run&) -> caf::result<bool> {
        return to_caf({ec::busy, "not played"});
      },
      [](const stage_answer&) -> caf::result<bool> {
        return to_caf({ec::busy, "not played"});
      },
      [=](const file_want& ask) { return answer(self, ask); },
      [](atom::tell, const std::shared_ptr<const std::vector<std::byte>>&) {},
      [](const reservation_message&) {},
      [](atom::begin, node_id) {},
      [](atom::drain) { return true; },
      [](atom::leave, const std::string&) {},
      [](atom::frame, const frame_ptr&) {},
      [](atom::gone) {},
      [=](atom::tick) {
        if (tick && !tick())
          self->delayed_send(self, 1ms, atom::tick::value);
      },
      [](atom::details) { return link_status{}; },
  };
}

/// Who is near, as the test says.
class neighbourhood {
 public:
  members_ptr now() const {
    std::lock_guard lock(mutex_);
    return members_;
  }
  void set(std::vector<member> members) {
    std::lock_guard lock(mutex_);
    members_ = std::make_shared<const std::vector<member>>(std::move(members));
  }

 private:
  mutable std::mutex mutex_;
  members_ptr members_ = std::make_shared<const std::vector<member>>();
};

perception_actor::behavior_type knows(perception_actor::pointer,
                                      std::shared_ptr<neighbourhood> who) {
  return {
      [](atom::status) { return component_status{}; },
      [](atom::heard, const std::string&) {},
      [](const stranger&) {},
      [](const link_event&) {},
      [](atom::tick) {},
      [](atom::begin, const updater_actor&) {},
      [](atom::tell, const std::shared_ptr<const node_record>&) {},
      [=](atom::members) { return who->now(); },
      [](atom::expel, const std::string&) -> caf::result<std::string> {
        return to_caf({ec::busy, "not played"});
      },
      [](atom::leave, const std::string&) {},
      [](atom::details) { return std::vector<link_status>{}; },
  };
}

/// What somebody has is put into his record.
std::shared_ptr<const node_record> record_of(const model::chunk_set& has) {
  auto record = std::make_shared<node_record>();
  model_record m;
  m.hash = description().hash();
  m.complete = has.full();
  std::vector<uint8_t> bytes;
  for (auto b : has.encode())
    bytes.push_back(static_cast<uint8_t>(b));
  m.chunks = bitmap(has.size(), std::move(bytes));
  record->models = {m};
  return record;
}

struct fixture {
  system_config config;
  caf::actor_system system{config};
  caf::scoped_actor self{system};
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("coel-fetcher-" + std::to_string(getpid()));
  std::shared_ptr<neighbourhood> near = std::make_shared<neighbourhood>();
  std::vector<caf::strong_actor_ptr> actors;
  perception_actor perception = keep(system.spawn(knows, near));
  model::mirror_ptr mirror;
  fetcher_actor fetches;
  model::chunk_set everything = model::chunk_set::all(description().chunks());

  fixture() { start(); }
  ~fixture() {
    for (const auto& a : actors)
      caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
    std::filesystem::remove_all(folder);
  }
  template <class Handle>
  Handle keep(Handle actor) {
    actors.push_back(caf::actor_cast<caf::strong_actor_ptr>(actor));
    return actor;
  }

  void start() {
    std::filesystem::remove_all(folder);
    auto made = model::mirror::open(folder, description());
    BOOST_REQUIRE(made.ok());
    mirror = *made;
    fetcher_config c;
    c.model = "tiny";
    c.mirror = mirror;
    c.perception = perception;
    c.piece_bytes = 20'000; // several a chunk, the last one shorter
    c.planning.least_timeout_us = 300'000;
    fetches = keep(system.spawn<caf::detached>(fetcher, std::move(c)));
  }

  member somebody(uint32_t id, answering answer, std::optional<model::chunk_set> has = {},
                  at_tick tick = {}) {
    member m;
    m.id = static_cast<node_id>(id);
    m.name = "node" + std::to_string(id);
    m.link = keep(system.spawn(played, std::move(answer), std::move(tick)));
    m.up = true;
    m.record = record_of(has ? *has : everything);
    return m;
  }

  opened_mirror_ptr open() {
    opened_mirror_ptr out;
    self->request(fetches, generous, atom::open::value)
        .receive([&](opened_mirror_ptr& got) { out = got; },
                 [](caf::error& why) { BOOST_FAIL(from_caf(why).message); });
    return out;
  }
  result<void> ensure(expert_key key, bool urgent = false) {
    result<void> out;
    self->request(fetches, generous, atom::ensure::value, key, urgent)
        .receive([](bool) {}, [&](caf::error& why) { out = from_caf(why); });
    return out;
  }
  fetch_peer_status done_by(uint32_t id) {
    fetch_peer_status out;
    self->request(fetches, generous, atom::details::value)
        .receive(
            [&](fetch_status& s) {
              for (const auto& p : s.peers)
                if (index(p.id) == id)
                  out = p;
            },
            [](caf::error&) {});
    return out;
  }
  /// Every byte that is here is the model's.
  void check_mirror() {
    for (uint32_t c = 0; c < description().chunks(); ++c)
      if (auto chunk = static_cast<model::chunk_id>(c); mirror->has(chunk))
        BOOST_TEST(*mirror->verify(chunk));
  }
};

constexpr expert_key an_expert{layer_id{1}, expert_id{2}};

} // namespace

BOOST_FIXTURE_TEST_SUITE(fetching, fixture)

BOOST_AUTO_TEST_CASE(opens_with_what_every_token_needs_and_no_more) {
  near->set({somebody(1, right), somebody(2, right)});
  auto opened = open();
  BOOST_REQUIRE(opened);
  BOOST_TEST(opened->source->config().layers > 0u);
  BOOST_TEST(!mirror->complete());
  BOOST_TEST(!opened->presence->present(an_expert));
  BOOST_TEST(ensure(an_expert).ok());
  BOOST_TEST(opened->presence->present(an_expert));
  BOOST_TEST(done_by(1).bytes > 0u);
  BOOST_TEST(done_by(2).bytes > 0u);
  check_mirror();
}

BOOST_AUTO_TEST_CASE(one_who_lies_is_counted_and_others_are_asked) {
  near->set(
      {somebody(1,
                [](neighbour_actor::pointer, const file_want& ask) -> caf::result<file_block> {
                  auto bytes = right_bytes(ask);
                  bytes.back() ^= std::byte{1};
                  return file_block{0, std::move(bytes)};
                }),
       somebody(2, right)});
  BOOST_REQUIRE(open());
  BOOST_TEST(done_by(1).wrong > 0u);
  BOOST_TEST(done_by(1).bytes == 0u);
  BOOST_TEST(done_by(2).wrong == 0u);
  check_mirror();
}

BOOST_AUTO_TEST_CASE(a_piece_of_another_length_is_a_lie) {
  near->set(
      {somebody(1,
                [](neighbour_actor::pointer, const file_want& ask) -> caf::result<file_block> {
                  auto bytes = right_bytes(ask);
                  bytes.resize(ask.length / 2);
                  return file_block{0, std::move(bytes)};
                }),
       somebody(2, right)});
  BOOST_REQUIRE(open());
  BOOST_TEST(done_by(1).wrong > 0u);
  check_mirror();
}

BOOST_AUTO_TEST_CASE(at_most_two_chunks_are_asked_of_one_neighbour_at_once) {
  auto desk = std::make_shared<front_desk>();
  near->set({somebody(1, desk->holding(), {}, [=] { return desk->answer_oldest(); })});
  BOOST_REQUIRE(open());
  BOOST_TEST(desk->most == 2u);
}

BOOST_AUTO_TEST_CASE(what_a_request_waits_for_comes_before_what_the_plan_wants) {
  auto desk = std::make_shared<front_desk>();
  near->set({somebody(1, desk->holding(), {}, [=] { return desk->answer_oldest(); })});
  auto opened = open();
  desk->closed = true;
  std::vector<std::function<void()>> waiting;
  auto ask = [&](expert_key key, bool urgent) {
    auto handle = std::make_shared<decltype(self->request(fetches, generous, atom::ensure::value,
                                                          key, urgent))>(
        self->request(fetches, generous, atom::ensure::value, key, urgent));
    waiting.push_back([handle] {
      handle->receive([](bool) {}, [](caf::error& why) { BOOST_ERROR(from_caf(why).message); });
    });
  };
  constexpr expert_key hurried{layer_id{2}, expert_id{7}};
  auto first_needed = opened->presence->missing(hurried);
  BOOST_REQUIRE(!first_needed.empty());
  for (uint32_t e = 0; e < 6; ++e)
    ask({layer_id{0}, static_cast<expert_id>(e)}, false);
  ask(hurried, true);
  (void)done_by(1); // the fetcher has read all that by now
  auto asked_before = desk->chunks_begun();
  desk->closed = false;
  for (auto& wait : waiting)
    wait();
  auto begun = desk->chunks_begun();
  auto first = asked_before.size(), last = first + first_needed.size() + 2; // two were on their way
  BOOST_REQUIRE(begun.size() > last);
  std::set<model::chunk_id> next(begun.begin() + static_cast<std::ptrdiff_t>(first),
                                 begun.begin() + static_cast<std::ptrdiff_t>(last));
  for (auto chunk : asked_before)
    std::erase(first_needed, chunk);
  for (auto chunk : first_needed)
    BOOST_TEST(next.contains(chunk));
}

BOOST_AUTO_TEST_CASE(one_who_dies_in_the_middle_is_replaced) {
  auto left = std::make_shared<std::atomic<int>>(9); // pieces
  auto dying = somebody(
      1, [=](neighbour_actor::pointer me, const file_want& ask) -> caf::result<file_block> {
        if (left->fetch_sub(1) > 0)
          return right(me, ask);
        return to_caf({ec::io, "the connection broke"});
      });
  near->set({dying});
  std::thread later([&] {
    while (left->load() > 0)
      std::this_thread::sleep_for(5ms);
    auto dead = dying;
    dead.up = false;
    dead.record = nullptr;
    near->set({dead, somebody(2, right)});
  });
  BOOST_REQUIRE(open());
  later.join();
  BOOST_TEST(done_by(1).bytes > 0u);
  BOOST_TEST(done_by(2).bytes > 0u);
  check_mirror();
}

BOOST_AUTO_TEST_CASE(one_who_is_silent_does_not_hold_the_model_up) {
  auto desk = std::make_shared<front_desk>();
  desk->closed = true;
  near->set({somebody(1, desk->holding(), {}, [=] { return desk->answer_oldest(); }),
             somebody(2, right)});
  BOOST_REQUIRE(open());
  BOOST_TEST(done_by(1).bytes == 0u);
  desk->closed = false; // a promise that is kept keeps its fetcher
  while (!desk->idle())
    std::this_thread::sleep_for(1ms);
}

BOOST_AUTO_TEST_CASE(an_expert_that_nobody_has_is_refused_at_once_and_comes_when_somebody_does) {
  near->set({somebody(1, right)});
  auto opened = open();
  near->set({});
  result<void> lost;
  expert_key key{layer_id{0}, {}};
  for (uint16_t e = 0; lost.ok() && e < 10; ++e) { // some may come before the neighbour is missed
    key.expert = expert_id{e};
    lost = ensure(key);
    std::this_thread::sleep_for(100ms);
  }
  BOOST_REQUIRE(!lost.ok());
  BOOST_TEST((lost.err().code == ec::expert_not_here));
  near->set({somebody(2, right)});
  result<void> again = lost;
  for (int i = 0; i < 100 && !again.ok(); ++i) {
    std::this_thread::sleep_for(50ms);
    again = ensure(key);
  }
  BOOST_TEST(again.ok());
  BOOST_TEST(opened->presence->present(key));
}

BOOST_AUTO_TEST_SUITE_END()
