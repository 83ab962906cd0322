#include "tests/model/disk_files.hpp"

#include <random>

using namespace coel;
using namespace coel::model;
using namespace coel::model::test;

namespace {

constexpr uint64_t mib = 1 << 20;

disk_reader::options sized(uint64_t slot_bytes, uint32_t slots = 4) {
  disk_reader::options how;
  how.slot_bytes = slot_bytes;
  how.slots = slots;
  how.limits.chunk_bytes = 64 << 10;
  return how;
}

direct_file_ptr opened(const std::filesystem::path& path,
                       direct_file::writes allowed = direct_file::writes::refused) {
  auto file = direct_file::open(path, allowed);
  BOOST_REQUIRE_MESSAGE(file.ok(), (file ? "" : file.err().message));
  return *file;
}

std::unique_ptr<disk_reader> started(const disk_reader::options& how) {
  auto made = disk_reader::start(how);
  BOOST_REQUIRE(made.ok());
  return std::move(*made);
}

void with_lies(disk_reader::options& how, lying_engine::tell what) {
  how.engine = [what](uint32_t depth, read_engine::finished done) -> read_engine_ptr {
    return std::make_unique<lying_engine>(depth, std::move(done), what);
  };
}

void check_pieces(disk_reader& reader, const direct_file_ptr& file,
                  const std::vector<std::pair<uint64_t, uint64_t>>& ranges) {
  std::vector<file_piece> pieces;
  for (auto [offset, bytes] : ranges)
    pieces.push_back({file, offset, bytes});
  outcome_box box;
  BOOST_REQUIRE(reader.submit(pieces, read_priority::demand, box.catcher()).ok());
  auto& got = box.wait();
  BOOST_REQUIRE_MESSAGE(got.ok(), (got ? "" : got.err().message));
  BOOST_REQUIRE_EQUAL(got->pieces.size(), ranges.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    BOOST_REQUIRE_EQUAL(got->pieces[i].size(), ranges[i].second);
    BOOST_CHECK(is_content(got->pieces[i], ranges[i].first));
  }
}

void check_many_ranges(disk_reader& reader, const direct_file_ptr& file, uint64_t size) {
  check_pieces(reader, file, {{0, 1}});
  check_pieces(reader, file, {{size - 1, 1}});
  check_pieces(reader, file, {{0, size}});
  check_pieces(reader, file, {{4095, 2}, {4096, 4096}, {8191, 1}});
  check_pieces(reader, file, {{1000, 5000}, {6000, 70'000}, {1, 1}});
  std::mt19937_64 random(7);
  for (int i = 0; i < 50; ++i) {
    uint64_t at = random() % size, bytes = 1 + random() % (size - at);
    check_pieces(reader, file, {{at, bytes}, {random() % size, 1}});
  }
}

struct engine_kind {
  const char* name;
  disk_reader::make_engine make;
};
std::vector<engine_kind> engines() {
  return {{"threads",
           [](uint32_t depth, read_engine::finished done) {
             return make_thread_engine(depth, std::move(done));
           }},
          {"best here", make_read_engine}};
}

} // namespace

BOOST_AUTO_TEST_SUITE(disk_reader_reads)

BOOST_AUTO_TEST_CASE(any_range_comes_as_the_file_has_it) {
  disk_folder folder;
  constexpr uint64_t size = 777'777;
  auto file = opened(folder.write("a", size));
  for (const auto& e : engines())
    BOOST_TEST_CONTEXT(e.name) {
      auto how = sized(2 * mib);
      how.engine = e.make;
      auto reader = started(how);
      check_many_ranges(*reader, file, size);
      auto counts = reader->status().counts;
      BOOST_CHECK_EQUAL(counts.demand_jobs, 55u);
      BOOST_CHECK_EQUAL(counts.failed, 0u);
      BOOST_CHECK_GT(reader->status().bytes_per_s, 0);
      BOOST_CHECK_GT(reader->status().demand_us, 0);
    }
}

BOOST_AUTO_TEST_CASE(memory_file_systems_are_read_as_well) {
  if (!std::filesystem::exists("/dev/shm"))
    return;
  disk_folder folder("/dev/shm");
  constexpr uint64_t size = 123'456;
  auto file = opened(folder.write("a", size));
  auto reader = started(sized(mib));
  check_many_ranges(*reader, file, size);
}

BOOST_AUTO_TEST_CASE(pieces_of_several_files_make_one_job) {
  disk_folder folder;
  auto a = opened(folder.write("a", 10'000)), b = opened(folder.write("b", 20'000));
  auto reader = started(sized(mib));
  outcome_box box;
  BOOST_REQUIRE(reader
                    ->submit({{a, 5, 100}, {b, 15'000, 5'000}, {a, 105, 50}}, read_priority::demand,
                             box.catcher())
                    .ok());
  auto& got = box.wait();
  BOOST_REQUIRE(got.ok());
  BOOST_CHECK(is_content(got->pieces[0], 5));
  BOOST_CHECK(is_content(got->pieces[1], 15'000));
  BOOST_CHECK(is_content(got->pieces[2], 105));
}

BOOST_AUTO_TEST_CASE(adjacent_pieces_are_read_once) {
  disk_folder folder;
  auto file = opened(folder.write("a", 100'000));
  auto reader = started(sized(mib));
  check_pieces(*reader, file, {{100, 1000}, {1100, 1000}, {2100, 900}});
  BOOST_CHECK_EQUAL(reader->status().counts.demand_bytes, 4096u);
}

BOOST_AUTO_TEST_CASE(more_jobs_than_slots_all_come) {
  disk_folder folder;
  auto file = opened(folder.write("a", 300'000));
  auto reader = started(sized(100'000, 2));
  std::vector<outcome_box> boxes(40);
  for (size_t i = 0; i < boxes.size(); ++i)
    BOOST_REQUIRE(reader
                      ->submit({{file, i * 5000, 80'000}},
                               i % 3 ? read_priority::prefetch : read_priority::demand,
                               boxes[i].catcher())
                      .ok());
  // Slots come back one by one: whichever job has one is looked at and lets it go.
  size_t seen = 0;
  std::vector<bool> checked(boxes.size());
  while (seen < boxes.size())
    for (size_t i = 0; i < boxes.size(); ++i)
      if (!checked[i] && !boxes[i].empty()) {
        auto& got = boxes[i].wait();
        BOOST_REQUIRE(got.ok());
        BOOST_CHECK(is_content(got->pieces[0], i * 5000));
        got->owner.reset();
        checked[i] = true;
        ++seen;
      }
}

BOOST_AUTO_TEST_CASE(what_no_reader_can_read_is_refused) {
  disk_folder folder;
  auto file = opened(folder.write("a", 100'000));
  auto reader = started(sized(8192));
  outcome_box box;
  auto refused = [&](std::vector<file_piece> pieces) {
    auto ticket = reader->submit(std::move(pieces), read_priority::demand, box.catcher());
    BOOST_REQUIRE(!ticket.ok());
    BOOST_CHECK(ticket.err().code == ec::bad_argument);
  };
  refused({});
  refused({{file, 0, 0}});
  refused({{file, 99'999, 2}});
  refused({{file, UINT64_MAX, 2}});
  refused({{file, 0, UINT64_MAX}});
  refused({{file, 0, 8193}});
  refused({{file, 4000, 8000}}); // three pages
  BOOST_CHECK(box.empty());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(disk_reader_failures)

BOOST_AUTO_TEST_CASE(a_passing_error_is_tried_again) {
  disk_folder folder;
  auto file = opened(folder.write("a", 300'000));
  auto how = sized(mib);
  auto left = std::make_shared<std::atomic<int>>(2);
  with_lies(how, [left](int64_t truth) { return left->fetch_sub(1) > 0 ? -EIO : truth; });
  auto reader = started(how);
  check_pieces(*reader, file, {{10, 250'000}});
  BOOST_CHECK_EQUAL(reader->status().counts.repeats, 2u);
  BOOST_CHECK_EQUAL(reader->status().counts.failed, 0u);
}

BOOST_AUTO_TEST_CASE(a_lasting_error_fails_the_job_and_no_other) {
  disk_folder folder;
  auto path = folder.write("a", 300'000);
  auto file = opened(path);
  auto how = sized(mib, 1);
  auto broken = std::make_shared<std::atomic<bool>>(true);
  with_lies(how, [broken](int64_t truth) { return *broken ? -EIO : truth; });
  auto reader = started(how);
  outcome_box box;
  BOOST_REQUIRE(reader->submit({{file, 10, 250'000}}, read_priority::demand, box.catcher()).ok());
  auto& got = box.wait();
  BOOST_REQUIRE(!got.ok());
  BOOST_CHECK(got.err().code == ec::io);
  BOOST_CHECK(got.err().message.find(path.string()) != std::string::npos);
  BOOST_CHECK(got.err().message.find("Input/output error") != std::string::npos);
  *broken = false;
  check_pieces(*reader, file, {{0, 300'000}}); // its slot is free again
  BOOST_CHECK_EQUAL(reader->status().counts.failed, 1u);
  BOOST_CHECK_EQUAL(box.times(), 1);
}

BOOST_AUTO_TEST_CASE(short_reads_go_on_where_they_ended) {
  disk_folder folder;
  auto file = opened(folder.write("a", 300'000));
  auto how = sized(mib);
  with_lies(how, [](int64_t truth) { return truth > 20'000 ? 20'000 : truth; });
  auto reader = started(how);
  check_pieces(*reader, file, {{0, 300'000}});
  check_pieces(*reader, file, {{123'456, 100'001}});
}

BOOST_AUTO_TEST_CASE(a_file_that_has_shrunk_is_an_error) {
  disk_folder folder;
  auto path = folder.write("a", 300'000);
  auto file = opened(path);
  auto reader = started(sized(mib));
  std::filesystem::resize_file(path, 100'000);
  for (uint64_t offset : {uint64_t{0}, uint64_t{150'000}}) {
    outcome_box box;
    BOOST_REQUIRE(
        reader->submit({{file, offset, 50'000}}, read_priority::demand, box.catcher()).ok());
    auto& got = box.wait();
    BOOST_REQUIRE(!got.ok());
    BOOST_CHECK(got.err().code == ec::bad_file);
  }
}

BOOST_AUTO_TEST_CASE(a_file_that_was_written_to_is_an_error) {
  disk_folder folder;
  auto path = folder.write("a", 300'000);
  auto strict = opened(path), filled = opened(path, direct_file::writes::expected);
  auto reader = started(sized(mib));
  {
    std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(200'000);
    out.put('x');
  }
  std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() +
                                             std::chrono::seconds(2)); // coarse clocks
  outcome_box box;
  BOOST_REQUIRE(reader->submit({{strict, 0, 10}}, read_priority::demand, box.catcher()).ok());
  BOOST_REQUIRE(!box.wait().ok());
  BOOST_CHECK(box.wait().err().code == ec::bad_file);
  check_pieces(*reader, filled, {{0, 100'000}});
}

BOOST_AUTO_TEST_CASE(a_file_that_another_replaces_is_read_to_its_end) {
  disk_folder folder;
  auto path = folder.write("a", 300'000);
  auto file = opened(path);
  auto reader = started(sized(mib));
  std::ofstream(folder.path / "b") << "something else";
  std::filesystem::rename(folder.path / "b", path);
  check_pieces(*reader, file, {{0, 300'000}});
  BOOST_CHECK(!(opened(path)->identity() == file->identity()));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_opened_says_why) {
  disk_folder folder;
  auto none = direct_file::open(folder.path / "none");
  BOOST_REQUIRE(!none.ok());
  BOOST_CHECK(none.err().code == ec::io);
  auto directory = direct_file::open(folder.path);
  BOOST_REQUIRE(!directory.ok());
  BOOST_CHECK(directory.err().code == ec::bad_file);
  auto empty = direct_file::open(folder.write("e", 0));
  BOOST_REQUIRE(!empty.ok());
  BOOST_CHECK(empty.err().code == ec::bad_file);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(disk_reader_order)

namespace {
struct held_world {
  disk_folder folder;
  direct_file_ptr file = opened(folder.write("a", 4 * mib));
  std::shared_ptr<held_engine::gate> gate = std::make_shared<held_engine::gate>();
  std::unique_ptr<disk_reader> reader;

  explicit held_world(uint32_t slots = 4) {
    auto how = sized(mib, slots);
    how.limits.in_flight = 2;
    how.limits.prefetch_in_flight = 1;
    how.engine = [g = gate](uint32_t depth, read_engine::finished done) -> read_engine_ptr {
      return std::make_unique<held_engine>(depth, std::move(done), g);
    };
    reader = started(how);
  }
  ~held_world() { gate->let_go(); }
  read_ticket ask(uint64_t offset, read_priority how, outcome_box& box) {
    auto t = reader->submit({{file, offset, 256 << 10}}, how, box.catcher());
    BOOST_REQUIRE(t.ok());
    return *t;
  }
};
} // namespace

BOOST_AUTO_TEST_CASE(demand_overtakes_a_prefetch_under_way) {
  held_world w;
  outcome_box ahead, asked;
  w.ask(0, read_priority::prefetch, ahead);
  w.ask(2 * mib, read_priority::demand, asked);
  w.gate->let_go();
  BOOST_REQUIRE(asked.wait().ok());
  BOOST_REQUIRE(ahead.wait().ok());
  auto order = w.gate->asked();
  BOOST_REQUIRE_EQUAL(order.size(), 8u);
  // Only the read that was under way comes before the demand's four.
  BOOST_CHECK_EQUAL(order[0].offset, 0u);
  for (size_t i = 1; i <= 4; ++i)
    BOOST_CHECK_GE(order[i].offset, 2 * mib);
}

BOOST_AUTO_TEST_CASE(a_prefetch_that_is_waited_for_becomes_a_demand) {
  held_world w;
  outcome_box first, second, third;
  w.ask(0, read_priority::prefetch, first);
  w.ask(mib, read_priority::prefetch, second);
  auto wanted = w.ask(2 * mib, read_priority::prefetch, third);
  BOOST_CHECK(w.reader->promote(wanted));
  BOOST_CHECK(!w.reader->promote(wanted));
  w.gate->let_go();
  BOOST_REQUIRE(third.wait().ok());
  BOOST_REQUIRE(first.wait().ok());
  BOOST_REQUIRE(second.wait().ok());
  auto order = w.gate->asked();
  BOOST_CHECK_EQUAL(order[1].offset, 2 * mib);
  auto counts = w.reader->status().counts;
  BOOST_CHECK_EQUAL(counts.promoted, 1u);
  BOOST_CHECK_EQUAL(counts.demand_jobs, 1u);
  BOOST_CHECK_EQUAL(counts.prefetch_jobs, 2u);
}

BOOST_AUTO_TEST_CASE(a_prefetch_that_waits_is_cancelled_without_a_read) {
  held_world w;
  outcome_box first, second;
  w.ask(0, read_priority::prefetch, first);
  auto unwanted = w.ask(mib, read_priority::prefetch, second);
  BOOST_CHECK(w.reader->cancel(unwanted));
  BOOST_REQUIRE(!second.wait().ok());
  BOOST_CHECK(second.wait().err().code == ec::cancelled);
  BOOST_CHECK(!w.reader->cancel(unwanted));
  w.gate->let_go();
  BOOST_REQUIRE(first.wait().ok());
  for (const auto& r : w.gate->asked())
    BOOST_CHECK_LT(r.offset, mib);
}

BOOST_AUTO_TEST_CASE(a_prefetch_under_way_is_cancelled_when_its_reads_end) {
  held_world w(1);
  outcome_box box, next;
  auto unwanted = w.ask(0, read_priority::prefetch, box);
  BOOST_CHECK(w.reader->cancel(unwanted));
  BOOST_CHECK(box.empty());
  w.gate->let_go();
  BOOST_REQUIRE(!box.wait().ok());
  BOOST_CHECK(box.wait().err().code == ec::cancelled);
  auto counts = w.reader->status().counts;
  BOOST_CHECK_EQUAL(counts.cancelled, 1u);
  BOOST_CHECK_EQUAL(counts.wasted_bytes, 64u << 10); // one read of four
  w.ask(mib, read_priority::demand, next);           // the only slot is free again
  BOOST_REQUIRE(next.wait().ok());
}

BOOST_AUTO_TEST_CASE(prefetch_leaves_a_slot_for_demand) {
  held_world w(2);
  w.gate->let_go();
  outcome_box kept, waiting, asked;
  w.ask(0, read_priority::prefetch, kept);
  BOOST_REQUIRE(kept.wait().ok());
  w.ask(mib, read_priority::prefetch, waiting);
  w.ask(2 * mib, read_priority::demand, asked);
  BOOST_REQUIRE(asked.wait().ok());
  BOOST_CHECK(waiting.empty());
  asked.wait()->owner.reset();
  kept.wait()->owner.reset();
  BOOST_REQUIRE(waiting.wait().ok());
}

BOOST_AUTO_TEST_CASE(ending_the_reader_ends_every_job) {
  outcome_box running, waiting;
  staged_read kept;
  {
    held_world w;
    w.ask(0, read_priority::demand, running);
    w.ask(mib, read_priority::prefetch, waiting);
    w.gate->let_go();
    kept = *running.wait();
  }
  waiting.wait(); // read or ended: told in any case
  BOOST_CHECK_EQUAL(waiting.times(), 1);
  BOOST_CHECK(is_content(kept.pieces[0], 0)); // the ring lives as long as what lies in it
}

BOOST_AUTO_TEST_SUITE_END()
