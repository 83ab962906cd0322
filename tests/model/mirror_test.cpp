#include "model/mirror.hpp"
#include "model/source.hpp"
#include "tests/model/mirror_support.hpp"

#include <csignal>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>

namespace {

using namespace coel;
using namespace coel::model;
using namespace coel::model::test;

struct models : scratch {
  holder all{fixture()};
  std::filesystem::path home = folder / to_hex(all.description.hash());

  mirror_ptr open() const { return need(mirror::open(folder, all.description)); }
  std::string file() const { return content_of(home / "model.gguf"); }
};

bool says(const std::string& message, std::string_view part) {
  return message.find(part) != message.npos;
}

/// Regular files of this process cannot grow, or be written, beyond so many bytes.
struct small_disk {
  rlimit before{};
  explicit small_disk(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before);
    rlimit now{bytes, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  }
  ~small_disk() { ::setrlimit(RLIMIT_FSIZE, &before); }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(mirror_test, models)

BOOST_AUTO_TEST_CASE(a_new_mirror_has_nothing_and_takes_no_room) {
  auto m = open();
  BOOST_TEST(m->present().count() == 0u);
  BOOST_TEST(m->missing_bytes() == all.description.bytes());
  BOOST_TEST(!m->complete());
  BOOST_TEST(!m->has(byte_range{0, 0, 1}));
  BOOST_TEST(file().size() == all.description.bytes());
  struct stat about {};
  BOOST_REQUIRE(::stat((home / "model.gguf").c_str(), &about) == 0);
  BOOST_TEST(about.st_blocks * 512 < 4096);
}

BOOST_AUTO_TEST_CASE(a_stored_chunk_is_there_and_its_neighbours_are_not) {
  auto m = open();
  all.give(*m, chunk_id{3});
  BOOST_TEST(m->has(byte_range{0, 3 * 4096, 4096}));
  BOOST_TEST(m->has(byte_range{0, 3 * 4096 + 100, 7}));
  BOOST_TEST(!m->has(byte_range{0, 3 * 4096 - 1, 2}));
  BOOST_TEST(!m->has(byte_range{0, 4 * 4096 - 1, 2}));
  BOOST_TEST(!m->has(byte_range{1, 0, 1}));
  BOOST_TEST(!m->has(byte_range{0, all.description.bytes(), 1}));
  auto missing = m->missing({0, 2 * 4096, 3 * 4096});
  BOOST_CHECK((missing == std::vector{chunk_id{2}, chunk_id{4}}));
  BOOST_CHECK(need(m->read(chunk_id{3})) == all.chunk(chunk_id{3}));
  BOOST_TEST(!m->read(chunk_id{4}).ok());
}

BOOST_AUTO_TEST_CASE(wrong_bytes_are_refused_and_not_written) {
  auto m = open();
  auto before = file();
  auto bytes = all.chunk(chunk_id{5});
  bytes[17] ^= std::byte{1};
  auto wrong = m->store(chunk_id{5}, bytes);
  BOOST_REQUIRE(!wrong);
  BOOST_CHECK(wrong.err().code == ec::bad_file);
  BOOST_TEST(says(wrong.err().message, "chunk 5 (model.gguf, bytes 20480 to 24576)"));
  auto of_another = m->store(chunk_id{5}, all.chunk(chunk_id{6}));
  BOOST_TEST(!of_another.ok());
  auto short_one = m->store(chunk_id{5}, all.chunk(chunk_id{5}) = std::vector<std::byte>(4095));
  BOOST_REQUIRE(!short_one);
  BOOST_TEST(says(short_one.err().message, "came as 4095 bytes"));
  BOOST_TEST(!m->store(chunk_id{all.description.chunks()}, bytes).ok());
  BOOST_TEST(m->present().count() == 0u);
  BOOST_TEST(file() == before);
}

BOOST_AUTO_TEST_CASE(the_last_short_chunk_is_a_chunk) {
  auto last = static_cast<chunk_id>(all.description.chunks() - 1);
  BOOST_REQUIRE(all.description.place(last).length < 4096u);
  auto m = open();
  all.give(*m, last);
  BOOST_TEST(m->has(byte_range{0, all.description.bytes() - 1, 1}));
  BOOST_TEST(file().size() == all.description.bytes());
}

BOOST_AUTO_TEST_CASE(the_next_start_reuses_what_was_fetched) {
  for (uint32_t i = 0; i < 70; ++i)
    all.give(*open(), static_cast<chunk_id>(2 * i));
  auto m = need(mirror::reopen(home));
  BOOST_TEST(m->present().count() == 70u);
  BOOST_CHECK(m->description().hash() == all.description.hash());
  for (uint32_t i = 0; i < 70; ++i)
    BOOST_TEST(need(m->verify(static_cast<chunk_id>(2 * i))));
}

BOOST_AUTO_TEST_CASE(a_process_that_dies_leaves_no_chunk_marked_that_is_not_there) {
  auto child = ::fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    auto m = mirror::open(folder, all.description);
    for (uint32_t i = 0; m && i < 100; ++i)
      if (!(*m)->store(chunk_id{i}, *read_chunk(all.description, all.files, chunk_id{i})))
        ::_exit(1);
    ::_exit(m ? 0 : 1); // no destructor
  }
  int status = -1;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  BOOST_REQUIRE(status == 0);
  auto m = open();
  auto present = m->present();
  BOOST_TEST(present.count() >= 64u); // recorded every few chunks
  BOOST_TEST(present.count() <= 100u);
  for (uint32_t i = 0; i < present.size(); ++i)
    if (present.has(chunk_id{i}))
      BOOST_TEST(need(m->verify(chunk_id{i})));
}

BOOST_AUTO_TEST_CASE(after_record_a_process_may_die) {
  auto child = ::fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    auto m = mirror::open(folder, all.description);
    bool ok = m && (*m)->store(chunk_id{1}, *read_chunk(all.description, all.files, chunk_id{1})) &&
              (*m)->record();
    ::_exit(ok ? 0 : 1);
  }
  int status = -1;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  BOOST_REQUIRE(status == 0);
  BOOST_TEST(open()->has(chunk_id{1}));
}

BOOST_AUTO_TEST_CASE(a_file_that_was_cut_or_removed_is_fetched_again) {
  all.give_all(*open());
  std::filesystem::resize_file(home / "model.gguf", 5000);
  BOOST_TEST(open()->present().count() == 0u);
  BOOST_TEST(open()->present().count() == 0u); // its size is right by now, its bytes are not
  all.give_all(*open());
  std::filesystem::remove(home / "model.gguf");
  BOOST_TEST(open()->present().count() == 0u);
  BOOST_TEST(open()->present().count() == 0u);
}

BOOST_AUTO_TEST_CASE(a_damaged_list_of_chunks_means_fetching_again) {
  auto list = home / ".mirror" / "chunks";
  for (std::string damage : {std::string(), std::string("short"), std::string(21, '\xff')}) {
    all.give_all(*open());
    write(list, damage);
    BOOST_TEST(open()->present().count() == 0u, "list of " << damage.size() << " bytes");
  }
}

BOOST_AUTO_TEST_CASE(a_damaged_description_is_replaced_or_refused) {
  all.give_all(*open());
  write(home / ".mirror" / "manifest", "damaged");
  auto alone = mirror::reopen(home);
  BOOST_REQUIRE(!alone);
  BOOST_CHECK(alone.err().code == ec::bad_file);
  BOOST_TEST(open()->complete());
  BOOST_TEST(need(mirror::reopen(home))->complete());
  BOOST_TEST(!mirror::reopen(folder).ok());
}

BOOST_AUTO_TEST_CASE(a_chunk_that_the_disk_changed_is_found_and_can_be_fetched_again) {
  all.give_all(*open());
  auto bytes = file();
  bytes[9 * 4096 + 5] = static_cast<char>(bytes[9 * 4096 + 5] ^ 8);
  write(home / "model.gguf", bytes);
  {
    auto m = open();
    BOOST_TEST(m->has(chunk_id{9})); // trusted until somebody looks
    BOOST_TEST(!need(m->verify(chunk_id{9})));
    BOOST_TEST(!m->has(chunk_id{9}));
    BOOST_TEST(need(m->verify(chunk_id{8})));
  }
  auto m = open();
  BOOST_TEST(!m->has(chunk_id{9}));
  all.give(*m, chunk_id{9});
  BOOST_TEST(m->complete());
}

BOOST_AUTO_TEST_CASE(a_second_user_is_told_who_has_the_folder) {
  auto first = open();
  auto second = mirror::open(folder, all.description);
  BOOST_REQUIRE(!second);
  BOOST_CHECK(second.err().code == ec::busy);
  BOOST_TEST(says(second.err().message, "process " + std::to_string(::getpid())));
  first.reset();
  BOOST_TEST(mirror::open(folder, all.description).ok());
}

BOOST_AUTO_TEST_CASE(a_full_disk_says_how_much_is_missing) {
  auto m = open();
  all.give(*m, chunk_id{0});
  result<void> stored;
  {
    small_disk full(10 * 4096);
    stored = m->store(chunk_id{9}, all.chunk(chunk_id{9}));
    BOOST_TEST(stored.ok());
    stored = m->store(chunk_id{12}, all.chunk(chunk_id{12}));
  }
  BOOST_REQUIRE(!stored);
  BOOST_CHECK(stored.err().code == ec::io);
  BOOST_TEST(says(stored.err().message, "no room for chunk 12"));
  BOOST_TEST(says(stored.err().message, "1 MiB of the model are not here yet"));
  BOOST_TEST(!m->has(chunk_id{12}));
  all.give(*m, chunk_id{12});
  BOOST_TEST(m->has(chunk_id{12}));
}

BOOST_AUTO_TEST_CASE(a_link_in_the_place_of_a_file_is_not_written_through) {
  std::filesystem::create_directories(home);
  write(folder / "precious", "precious");
  std::filesystem::create_symlink(folder / "precious", home / "model.gguf");
  BOOST_TEST(!mirror::open(folder, all.description).ok());
  BOOST_TEST(content_of(folder / "precious") == "precious");
}

BOOST_AUTO_TEST_CASE(several_threads_may_store_and_ask) {
  auto m = open();
  std::vector<std::vector<std::byte>> chunks;
  for (uint32_t i = 0; i < all.description.chunks(); ++i)
    chunks.push_back(all.chunk(chunk_id{i}));
  std::atomic<uint32_t> failed{0};
  auto store_all = [&](bool backwards) {
    for (uint32_t i = 0; i < chunks.size(); ++i) {
      auto c = backwards ? static_cast<uint32_t>(chunks.size()) - 1 - i : i;
      failed += !m->store(chunk_id{c}, chunks[c]).ok();
      failed += !m->has(chunk_id{c});
    }
  };
  std::thread one(store_all, false), two(store_all, true);
  one.join();
  two.join();
  BOOST_TEST(failed == 0u);
  BOOST_TEST(m->complete());
  BOOST_TEST(file() == content_of(fixture()));
}

BOOST_AUTO_TEST_CASE(only_a_complete_mirror_is_a_model_folder) {
  {
    auto m = open();
    for (uint32_t i = 1; i < all.description.chunks(); ++i)
      all.give(*m, chunk_id{i});
  }
  for (const auto& path : {home, home / "model.gguf"}) {
    auto early = open_model(path);
    BOOST_REQUIRE(!early);
    BOOST_TEST(says(early.err().message, "of this model have been fetched"));
  }
  all.give(*open(), chunk_id{0});
  BOOST_TEST(open_model(home).ok());
  BOOST_TEST(open_model(home / "model.gguf").ok());
  BOOST_TEST(file() == content_of(fixture()));
  BOOST_CHECK(need(make_manifest(home, in_small_chunks())).hash() == all.description.hash());
}

BOOST_AUTO_TEST_CASE(lists_of_chunks_from_outside_are_checked) {
  chunk_set some(11);
  some.add(chunk_id{0}), some.add(chunk_id{10}), some.add(chunk_id{11});
  BOOST_TEST(some.count() == 2u);
  auto again = need(chunk_set::decode(some.encode(), 11));
  BOOST_TEST(again.count() == 2u);
  BOOST_TEST(again.has(chunk_id{10}));
  BOOST_TEST(!again.has(chunk_id{11}));
  BOOST_TEST(!chunk_set::decode(some.encode(), 8).ok());
  BOOST_TEST(!chunk_set::decode(some.encode(), 10).ok()); // bit 10 is beyond
  BOOST_TEST(!chunk_set::decode({}, 11).ok());
  BOOST_TEST(chunk_set::all(11).full());
}

BOOST_AUTO_TEST_SUITE_END()
