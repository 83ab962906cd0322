#include "model/gguf.hpp"
#include "model/gguf_writer.hpp"
#include "model/mirror_opening.hpp"
#include "tests/model/mirror_support.hpp"

namespace {

using namespace coel;
using namespace coel::model;
using namespace coel::model::test;

/// Two parts with one tensor each; the second header is longer than a chunk.
void write_split_set(const std::filesystem::path& folder, const std::string& stem) {
  for (int part = 0; part < 2; ++part) {
    std::vector<gguf_pair> metadata{{"split.count", 2u}, {"split.no", static_cast<uint32_t>(part)}};
    if (part == 1)
      metadata.push_back({"padding", std::string(6000, 'x')});
    auto path = folder / (stem + "-0000" + std::to_string(part + 1) + "-of-00002.gguf");
    auto writer = need(gguf_writer::create(
        path, metadata, {{"tensor" + std::to_string(part), dtype::f32, {2000, 3}}}));
    std::vector<std::byte> data(2000 * 3 * 4, static_cast<std::byte>(part + 1));
    need(writer->write(0, 0, data));
    need(writer->finish());
  }
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(mirror_split_test, scratch)

BOOST_AUTO_TEST_CASE(a_split_set_is_one_model_from_any_part_and_from_its_folder) {
  write_split_set(folder, "my-model");
  holder all(folder / "my-model-00001-of-00002.gguf");
  BOOST_REQUIRE(all.description.files().size() == 2u);
  BOOST_TEST(all.description.files()[1].name == "model-00002-of-00002.gguf");
  BOOST_CHECK(holder(folder / "my-model-00002-of-00002.gguf").description.hash() ==
              all.description.hash());
  BOOST_CHECK(holder(folder).description.hash() == all.description.hash());
}

BOOST_AUTO_TEST_CASE(the_headers_of_all_parts_are_needed) {
  std::filesystem::create_directories(folder / "original");
  write_split_set(folder / "original", "my-model");
  holder all(folder / "original");
  auto m = need(mirror::open(folder, all.description));
  auto first = need(opening_ranges(*m));
  BOOST_REQUIRE(first.size() == 2u);
  BOOST_CHECK((first[1] == byte_range{1, 0, 4096}));
  for (const auto& range : first)
    all.give(*m, range);
  auto second = need(opening_ranges(*m));
  BOOST_REQUIRE(second.size() == 1u);
  BOOST_CHECK((second[0] == byte_range{1, 4096, 4096}));
  all.give(*m, second[0]);
  BOOST_TEST(need(opening_ranges(*m)).empty());
  auto opened = need(gguf_file::open(m->folder() / "model-00001-of-00002.gguf"));
  BOOST_REQUIRE(opened.tensor("tensor1"));
  BOOST_TEST(*reinterpret_cast<const char*>(opened.tensor("tensor1")->data.row(2)) == 0);
  all.give_all(*m);
  BOOST_TEST(*reinterpret_cast<const char*>(opened.tensor("tensor1")->data.row(2)) == 2);
}

BOOST_AUTO_TEST_SUITE_END()
