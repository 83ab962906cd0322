// A store of experts: what is read from it is the model's, and anything else is refused.
#include "model/expert_store.hpp"
#include "model/expert_store_format.hpp"
#include "model/quantise_model.hpp"
#include "model/weights.hpp"
#include "tests/model/demo_experts.hpp"
#include "tests/model/disk_files.hpp"

#include <cmath>
#include <csignal>
#include <fcntl.h>
#include <random>
#include <sys/file.h>
#include <sys/resource.h>

using namespace coel;
using namespace coel::model;
using namespace coel::model::test;

namespace {

struct store_world {
  disk_folder folder;
  std::filesystem::path file = folder.path / "m.gguf", path = usual_store_path(file);
  compute::device_ptr device = *cpu::make_device({2, "", 0, false});
  source_ptr source;

  store_world() {
    std::filesystem::copy_file(demo, file);
    source = *open_model(file);
  }
  const compute::kept_layout& layout() const { return *compute::layout_of(*device); }
  result<uint64_t> write() { return write_expert_store(source, layout(), path, {2, {}}); }
  result<expert_store_ptr> open() const { return expert_store::open(path, source, layout()); }
  bool left_behind() const { return std::filesystem::exists(path.string() + ".new"); }

  void damage(uint64_t at) const {
    std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
    f.seekg(static_cast<std::streamoff>(at));
    auto old = static_cast<char>(f.get());
    f.seekp(static_cast<std::streamoff>(at));
    f.put(static_cast<char>(old ^ 0x10));
  }
  template <class Work>
  void for_all(Work work) const {
    for (uint32_t l = 0; l < source->config().layers; ++l)
      for (uint32_t e = 0; e < source->config().experts; ++e)
        work(expert_key{static_cast<layer_id>(l), static_cast<expert_id>(e)});
  }
};

bool says(const error& e, const std::string& part) {
  return e.message.find(part) != std::string::npos;
}

/// A device of another kind.
class other_layout : public compute::kept_layout {
 public:
  explicit other_layout(const compute::kept_layout& same) : same_(same) {}
  std::string_view name() const override { return "columns-7"; }
  uint64_t bytes(const compute::matrix_view& of) const override { return same_.bytes(of); }
  void arrange(const compute::matrix_view& from, std::byte* to) const override {
    same_.arrange(from, to);
  }
  result<compute::weight_ptr> adopt(const compute::matrix_view& of, compute::buffer_ptr memory,
                                    uint64_t offset) const override {
    return same_.adopt(of, std::move(memory), offset);
  }

 private:
  const compute::kept_layout& same_;
};

} // namespace

BOOST_AUTO_TEST_SUITE(store_of_experts)

BOOST_FIXTURE_TEST_CASE(experts_read_from_it_are_the_models, store_world) {
  auto size = write();
  BOOST_REQUIRE_MESSAGE(size.ok(), (size ? "" : size.err().message));
  BOOST_TEST(*size == std::filesystem::file_size(path));
  BOOST_TEST(!left_behind());
  auto store = open();
  BOOST_REQUIRE_MESSAGE(store.ok(), (store ? "" : store.err().message));
  disk_reader::options how;
  how.slot_bytes = 4096;
  how.slots = 1;
  how.limits.chunk_bytes = 64 << 10;
  auto reader = *disk_reader::start(how);
  uint64_t all = 0;
  for_all([&](expert_key key) {
    auto piece = (*store)->piece(key);
    BOOST_REQUIRE(piece.offset % 4096 == 0 && piece.bytes % 4096 == 0);
    auto memory = *device->allocate(piece.bytes);
    outcome_box box;
    BOOST_REQUIRE(reader
                      ->submit({piece}, read_priority::demand, box.catcher(),
                               {memory->data(), memory->size_bytes(), memory})
                      .ok());
    auto& got = box.wait();
    BOOST_REQUIRE_MESSAGE(got.ok(), (got ? "" : got.err().message));
    BOOST_REQUIRE(got->pieces.front().data() == memory->data());
    BOOST_REQUIRE((*store)->check(key, got->pieces.front()).ok());
    auto adopted = (*store)->adopt(key, memory);
    BOOST_REQUIRE(adopted.ok());
    BOOST_REQUIRE((*adopted)->bytes == piece.bytes);
    auto mapped = load_expert(*source, *device, key);
    BOOST_REQUIRE(run_on(*device, *adopted) == run_on(*device, *mapped));
    all += piece.bytes;
  });
  BOOST_TEST(all == (*store)->all());
}

BOOST_FIXTURE_TEST_CASE(a_copy_of_the_model_is_the_same_model, store_world) {
  BOOST_REQUIRE(write().ok());
  std::filesystem::rename(file, folder.path / "other name.gguf");
  std::filesystem::copy_file(folder.path / "other name.gguf", file);
  source = *open_model(file);
  BOOST_TEST(open().ok());
}

BOOST_FIXTURE_TEST_CASE(another_model_is_refused, store_world) {
  BOOST_REQUIRE(write().ok());
  auto fewer_bits = folder.path / "fewer.gguf";
  auto plan = *plan_quantisation(*source, dtype::q4_0);
  BOOST_REQUIRE(quantise_model(*source, plan, fewer_bits, 2, {}).ok());
  source = *open_model(fewer_bits);
  auto got = open();
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST((got.err().code == ec::unsupported));
  BOOST_TEST(says(got.err(), "another model"));
  BOOST_TEST(says(got.err(), "coel pack"));
}

BOOST_FIXTURE_TEST_CASE(the_same_shape_with_other_weights_is_another_model, store_world) {
  BOOST_REQUIRE(write().ok());
  auto view = *source->matrix({role::expert_up, layer_id{0}, expert_id{1}}); // that of the sample
  auto at = source->extent(view)->offset;
  source = nullptr;
  std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
  std::vector<char> noise(view.bytes());
  std::mt19937 random(1);
  for (auto& c : noise)
    c = static_cast<char>(random());
  f.seekp(static_cast<std::streamoff>(at));
  f.write(noise.data(), static_cast<std::streamsize>(noise.size()));
  f.close();
  source = *open_model(file);
  auto got = open();
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST(says(got.err(), "another model"));
}

BOOST_FIXTURE_TEST_CASE(another_layout_is_refused, store_world) {
  BOOST_REQUIRE(write().ok());
  auto got = expert_store::open(path, source, other_layout(layout()));
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST((got.err().code == ec::unsupported));
  BOOST_TEST(says(got.err(), "columns-7"));
  BOOST_TEST(says(got.err(), std::string(layout().name())));
}

BOOST_FIXTURE_TEST_CASE(every_damaged_byte_of_the_header_is_seen, store_world) {
  BOOST_REQUIRE(write().ok());
  auto header = (*open())->piece({layer_id{0}, expert_id{0}}).offset;
  store_header h;
  h.layout = layout().name();
  h.index.resize(size_t{source->config().layers} * source->config().experts);
  BOOST_TEST(h.encoded_bytes() == header);
  uint64_t content = 16 + 2 + h.layout.size() + 8 + 32 + 8 + 24 * h.index.size() + 32;
  for (uint64_t at = 0; at < content; at += at < 120 ? 1 : 37) {
    damage(at);
    auto got = open();
    BOOST_TEST_CONTEXT("byte " << at) {
      BOOST_REQUIRE(!got.ok());
      BOOST_TEST(says(got.err(), "coel pack"));
    }
    damage(at);
  }
  BOOST_TEST(open().ok());
}

BOOST_FIXTURE_TEST_CASE(a_damaged_expert_is_seen, store_world) {
  BOOST_REQUIRE(write().ok());
  expert_key key{layer_id{2}, expert_id{5}};
  auto piece = (*open())->piece(key);
  damage(piece.offset + piece.bytes / 2);
  auto store = *open();
  std::vector<std::byte> bytes(piece.bytes);
  std::ifstream in(path, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(piece.offset));
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  auto got = store->check(key, bytes);
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST((got.err().code == ec::bad_file));
  BOOST_TEST(says(got.err(), "coel pack"));
  BOOST_TEST(!store->check(key, std::span(bytes).first(4096)).ok());
}

BOOST_FIXTURE_TEST_CASE(a_file_cut_short_or_of_another_kind_is_refused, store_world) {
  auto size = *write();
  for (uint64_t left : {size - 4096, size / 2, uint64_t{4096}, uint64_t{100}, uint64_t{7}}) {
    std::filesystem::resize_file(path, left);
    BOOST_TEST_CONTEXT(left << " bytes") {
      auto got = open();
      BOOST_REQUIRE(!got.ok());
      BOOST_TEST((got.err().code == ec::bad_file));
    }
  }
  auto got = expert_store::open(file, source, layout()); // the model itself
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST(says(got.err(), "coel pack"));
  BOOST_TEST(!expert_store::open(folder.path / "none", source, layout()).ok());
  BOOST_TEST(!expert_store::open(folder.path, source, layout()).ok());
}

BOOST_FIXTURE_TEST_CASE(a_store_that_was_there_stays_until_the_new_one_is_whole, store_world) {
  BOOST_REQUIRE(write().ok());
  auto before = std::filesystem::last_write_time(path);
  struct rlimit old {};
  BOOST_REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small {
    512 << 10, old.rlim_max
  }; // as a disk that is full
  BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  auto got = write();
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, ignored);
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST((got.err().code == ec::io));
  BOOST_TEST(says(got.err(), "no room for"));
  BOOST_TEST(!left_behind());
  BOOST_TEST((std::filesystem::last_write_time(path) == before));
  BOOST_TEST(open().ok());
}

BOOST_FIXTURE_TEST_CASE(what_a_killed_writer_left_is_written_over, store_world) {
  std::ofstream(path.string() + ".new") << std::string(1 << 20, 'x');
  BOOST_REQUIRE(write().ok());
  BOOST_TEST(!left_behind());
  BOOST_TEST(open().ok());
}

BOOST_FIXTURE_TEST_CASE(two_writers_do_not_mix, store_world) {
  auto name = path.string() + ".new";
  int other = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  BOOST_REQUIRE(other >= 0 && ::flock(other, LOCK_EX) == 0);
  auto got = write();
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST((got.err().code == ec::busy));
  BOOST_TEST(left_behind()); // it is the other's
  ::close(other);
  BOOST_TEST(write().ok());
}

BOOST_AUTO_TEST_CASE(the_usual_name_is_the_models_with_more_behind) {
  BOOST_TEST(usual_store_path("/m/a.gguf") == std::filesystem::path("/m/a.gguf.experts"));
  BOOST_TEST(usual_store_path("/m/folder/") == std::filesystem::path("/m/folder.experts"));
}

BOOST_AUTO_TEST_SUITE_END()
