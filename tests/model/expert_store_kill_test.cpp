// A writer of stores is killed at any moment: the old store stays, or the new one is whole.
#include "model/expert_store.hpp"
#include "model/manifest_io.hpp"
#include "tests/model/demo_experts.hpp"
#include "tests/model/disk_files.hpp"

#include <csignal>
#include <random>
#include <sys/wait.h>
#include <thread>

using namespace coel;
using namespace coel::model;
using namespace coel::model::test;

namespace {

/// Whether all of it is as it was packed.
void check_whole(const std::filesystem::path& path, const source_ptr& source,
                 const compute::kept_layout& layout) {
  auto store = expert_store::open(path, source, layout);
  BOOST_REQUIRE_MESSAGE(store.ok(), (store ? "" : store.err().message));
  auto bytes = *read_whole(path, uint64_t{1} << 30);
  for (uint32_t l = 0; l < source->config().layers; ++l)
    for (uint32_t e = 0; e < source->config().experts; ++e) {
      expert_key key{static_cast<layer_id>(l), static_cast<expert_id>(e)};
      auto piece = (*store)->piece(key);
      BOOST_REQUIRE((*store)->check(key, std::span(bytes).subspan(piece.offset, piece.bytes)).ok());
    }
}

} // namespace

BOOST_AUTO_TEST_SUITE(store_of_experts)

BOOST_AUTO_TEST_CASE(a_writer_that_is_killed_leaves_the_old_or_the_new) {
  disk_folder folder;
  auto path = folder.path / "m.experts";
  auto source = *open_model(demo);
  auto panels = *cpu::make_device({1, "", 0, false});
  const auto* layout = compute::layout_of(*panels);
  BOOST_REQUIRE(layout);
  panels = nullptr; // no thread of ours is there when the process forks
  std::mt19937 random(1);
  int whole = 0;
  for (int i = 0; i < 30; ++i) {
    auto writer = ::fork();
    BOOST_REQUIRE(writer >= 0);
    if (writer == 0) {
      for (;;)
        if (!write_expert_store(source, *layout, path, {1, {}}))
          ::_exit(1);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
    ::kill(writer, SIGKILL);
    int status = 0;
    ::waitpid(writer, &status, 0);
    BOOST_REQUIRE(WIFSIGNALED(status)); // it had not failed before
    if (std::filesystem::exists(path)) {
      check_whole(path, source, *layout);
      ++whole;
    }
  }
  auto again = write_expert_store(source, *layout, path, {1, {}});
  BOOST_REQUIRE_MESSAGE(again.ok(), (again ? "" : again.err().message));
  check_whole(path, source, *layout);
  BOOST_TEST(!std::filesystem::exists(path.string() + ".new"));
  BOOST_TEST(whole > 0);
}

BOOST_AUTO_TEST_SUITE_END()
