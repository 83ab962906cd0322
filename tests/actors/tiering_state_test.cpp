// What a predictor has learnt is on disk whole or not at all, whatever ends its writer.
#include "actors/tiering_state.hpp"

#include "../model/disk_files.hpp"

#include <csignal>
#include <random>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>

using namespace coel;
using namespace coel::actors;

namespace {

/// Of another size for each.
std::vector<std::byte> content(uint8_t n) {
  return std::vector<std::byte>(300'000 + size_t{n} * 1000, std::byte{n});
}

bool is_whole(const std::vector<std::byte>& got) {
  return !got.empty() && got == content(static_cast<uint8_t>(got.front()));
}

} // namespace

BOOST_AUTO_TEST_SUITE(tiering_state)

BOOST_AUTO_TEST_CASE(a_writer_that_is_killed_leaves_the_old_or_the_new) {
  model::test::disk_folder folder;
  auto path = folder.path / "m.predictor";
  std::mt19937 random(1);
  int whole = 0;
  for (int i = 0; i < 40; ++i) {
    auto writer = ::fork();
    BOOST_REQUIRE(writer >= 0);
    if (writer == 0) {
      for (auto n = static_cast<uint8_t>(random());; ++n)
        if (!write_state(path, content(n)))
          ::_exit(1);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 30'000));
    ::kill(writer, SIGKILL);
    int status = 0;
    ::waitpid(writer, &status, 0);
    BOOST_REQUIRE(WIFSIGNALED(status)); // it had not failed before
    if (auto got = read_state(path)) {
      BOOST_REQUIRE(is_whole(*got));
      ++whole;
    }
  }
  BOOST_TEST(whole > 0);
}

BOOST_AUTO_TEST_CASE(a_full_disk_leaves_what_was_there) {
  model::test::disk_folder folder;
  auto path = folder.path / "m.predictor";
  BOOST_REQUIRE(write_state(path, content(3)).ok());
  struct rlimit old {};
  BOOST_REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  auto before = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small{100'000, old.rlim_max};
  BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  auto got = write_state(path, content(4));
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, before);
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST((got.err().code == ec::io));
  BOOST_TEST(got.err().message.find(path.string()) != std::string::npos);
  BOOST_TEST(!std::filesystem::exists(path.string() + ".new"));
  BOOST_TEST((*read_state(path) == content(3)));
}

BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_made_is_an_error) {
  model::test::disk_folder folder;
  std::ofstream(folder.path / "file") << "no folder";
  auto got = write_state(folder.path / "file" / "m.predictor", content(1));
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST((got.err().code == ec::io));
}

BOOST_AUTO_TEST_SUITE_END()
