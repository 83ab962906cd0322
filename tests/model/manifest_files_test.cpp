#include "model/manifest_files.hpp"
#include "model/random_model.hpp"
#include "model/source.hpp"
#include "tests/model/mirror_support.hpp"

#include <sys/stat.h>
#include <thread>

namespace {

using namespace coel;
using namespace coel::model;
using namespace coel::model::test;

/// A manifest and whether any byte of the model was read for it.
struct outcome {
  sha256 hash{};
  bool read = false;
};

outcome manifest_of(const std::filesystem::path& path, const std::filesystem::path& cache) {
  outcome o;
  auto options = in_small_chunks();
  options.cache = cache;
  options.progress = [&](uint64_t, uint64_t) { return o.read = true; };
  o.hash = need(make_manifest(path, options)).hash();
  return o;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(manifest_files_test, scratch)

BOOST_AUTO_TEST_CASE(the_same_bytes_have_the_same_hash_under_any_path_and_name) {
  std::filesystem::create_directories(folder / "there");
  std::filesystem::copy_file(fixture(), folder / "there" / "renamed.gguf");
  std::filesystem::create_symlink(fixture(), folder / "link.gguf");
  auto original = need(make_manifest(fixture(), in_small_chunks()));
  auto copy = need(make_manifest(folder / "there" / "renamed.gguf", in_small_chunks()));
  auto link = need(make_manifest(folder / "link.gguf", in_small_chunks()));
  auto inside = need(make_manifest(folder / "there", in_small_chunks()));
  BOOST_CHECK(copy.hash() == original.hash());
  BOOST_CHECK(link.hash() == original.hash());
  BOOST_CHECK(inside.hash() == original.hash());
  BOOST_TEST(copy.title() == "renamed");
  BOOST_TEST(original.files()[0].name == "model.gguf");
}

BOOST_AUTO_TEST_CASE(every_chunk_has_the_hash_of_its_bytes_for_any_number_of_threads) {
  auto whole = content_of(fixture());
  for (uint32_t threads : {0u, 1u, 2u, 5u}) {
    auto options = in_small_chunks();
    options.threads = threads;
    auto m = need(make_manifest(fixture(), options));
    BOOST_TEST(m.bytes() == whole.size());
    for (uint32_t i = 0; i < m.chunks(); ++i) {
      auto at = m.place(chunk_id{i});
      auto part = std::as_bytes(std::span(whole)).subspan(at.offset, at.length);
      BOOST_CHECK(m.digest(chunk_id{i}) == sha256_of(part));
    }
  }
}

BOOST_AUTO_TEST_CASE(one_changed_bit_is_another_model) {
  auto before = need(make_manifest(fixture(), in_small_chunks())).hash();
  auto bytes = content_of(fixture());
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write(folder / "model.gguf", bytes);
  BOOST_CHECK(need(make_manifest(folder / "model.gguf", in_small_chunks())).hash() != before);
}

BOOST_AUTO_TEST_CASE(progress_ends_at_all_bytes_and_never_goes_back) {
  auto options = in_small_chunks();
  uint64_t last = 0, total = 0;
  auto caller = std::this_thread::get_id();
  options.progress = [&](uint64_t done, uint64_t of) {
    BOOST_TEST(done >= last);
    BOOST_CHECK(std::this_thread::get_id() == caller);
    last = done, total = of;
    return true;
  };
  auto m = need(make_manifest(fixture(), options));
  BOOST_TEST(last == m.bytes());
  BOOST_TEST(total == m.bytes());
}

BOOST_AUTO_TEST_CASE(it_can_be_cancelled_and_leaves_nothing_in_the_cache) {
  auto options = in_small_chunks();
  options.cache = folder / "cache";
  options.progress = [](uint64_t, uint64_t) { return false; };
  auto m = make_manifest(fixture(), options);
  BOOST_REQUIRE(!m);
  BOOST_CHECK(m.err().code == ec::cancelled);
  BOOST_TEST(!std::filesystem::exists(folder / "cache"));
}

BOOST_AUTO_TEST_CASE(the_second_time_nothing_is_read) {
  std::filesystem::copy_file(fixture(), folder / "m.gguf");
  auto first = manifest_of(folder / "m.gguf", folder / "cache");
  auto second = manifest_of(folder / "m.gguf", folder / "cache");
  BOOST_TEST(first.read);
  BOOST_TEST(!second.read);
  BOOST_CHECK(first.hash == second.hash);
}

BOOST_AUTO_TEST_CASE(a_file_of_another_time_or_inode_is_read_again) {
  auto path = folder / "m.gguf";
  std::filesystem::copy_file(fixture(), path);
  manifest_of(path, folder / "cache");
  auto time = std::filesystem::last_write_time(path);
  std::filesystem::last_write_time(path, time + std::chrono::nanoseconds(1000));
  BOOST_TEST(manifest_of(path, folder / "cache").read);
  std::filesystem::copy_file(path, folder / "other.gguf");
  std::filesystem::last_write_time(folder / "other.gguf", time);
  std::filesystem::rename(folder / "other.gguf", path);
  BOOST_TEST(manifest_of(path, folder / "cache").read);
}

BOOST_AUTO_TEST_CASE(a_damaged_cache_entry_is_replaced) {
  std::filesystem::copy_file(fixture(), folder / "m.gguf");
  auto first = manifest_of(folder / "m.gguf", folder / "cache");
  auto entry = std::filesystem::directory_iterator(folder / "cache")->path();
  auto bytes = content_of(entry);
  for (size_t at : {size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
    auto bad = bytes;
    bad[at] = static_cast<char>(bad[at] ^ 4);
    write(entry, bad);
    auto again = manifest_of(folder / "m.gguf", folder / "cache");
    BOOST_TEST(again.read, "damage at byte " << at);
    BOOST_CHECK(again.hash == first.hash);
  }
  write(entry, "");
  BOOST_TEST(manifest_of(folder / "m.gguf", folder / "cache").read);
  BOOST_TEST(!manifest_of(folder / "m.gguf", folder / "cache").read);
}

BOOST_AUTO_TEST_CASE(a_hugging_face_folder_is_described_by_what_opening_it_reads) {
  write_hf_model(folder / "Tiny-OLMoE");
  write(folder / "Tiny-OLMoE" / "README.md", "not part of the model");
  auto m = need(make_manifest(folder / "Tiny-OLMoE", in_small_chunks()));
  std::vector<std::string> names;
  for (const auto& f : m.files())
    names.push_back(f.name);
  BOOST_TEST(names == (std::vector<std::string>{"config.json", "model-00001-of-00002.safetensors",
                                                "model-00002-of-00002.safetensors",
                                                "model.safetensors.index.json", "tokenizer.json"}),
             boost::test_tools::per_element());
  BOOST_TEST(m.title() == "Tiny-OLMoE");
}

BOOST_AUTO_TEST_CASE(what_is_no_model_is_an_error) {
  BOOST_TEST(!make_manifest(folder / "absent.gguf", {}).ok());
  BOOST_TEST(!make_manifest(folder, {}).ok());
  write(folder / "text.gguf", "not a model");
  BOOST_TEST(!make_manifest(folder / "text.gguf", {}).ok());
  auto none = in_small_chunks(0);
  BOOST_TEST(!make_manifest(fixture(), none).ok());
}

BOOST_AUTO_TEST_SUITE_END()
