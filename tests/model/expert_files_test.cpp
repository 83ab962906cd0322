// Experts read past the mapping are the experts of the mapping, byte by byte and row by row.
#include "model/expert_files.hpp"
#include "tests/model/demo_experts.hpp"
#include "tests/model/disk_files.hpp"

using namespace coel;
using namespace coel::model;
using namespace coel::model::test;

namespace {

result<staged_read> read_now(disk_reader& reader, const expert_files& files, expert_key key,
                             outcome_box& box) {
  auto pieces = files.pieces(key);
  BOOST_REQUIRE(pieces.ok());
  BOOST_REQUIRE(reader.submit(*pieces, read_priority::demand, box.catcher()).ok());
  return box.wait();
}

result<expert_ptr> expert_from(const expert_files& files, compute::device& on, expert_key key,
                               const std::vector<std::span<const std::byte>>& bytes) {
  std::vector<compute::weight_ptr> pieces;
  for (uint32_t i = 0; i < bytes.size(); ++i) {
    auto made = files.make_piece(on, key, i, bytes[i]);
    if (!made)
      return made.err();
    pieces.push_back(*made);
  }
  return expert_ptr(expert_of(pieces));
}

void check_all_experts(const std::filesystem::path& path) {
  auto source = open_model(path);
  BOOST_REQUIRE_MESSAGE(source.ok(), (source ? "" : source.err().message));
  auto files = expert_files::open(*source, direct_file::writes::refused);
  BOOST_REQUIRE_MESSAGE(files.ok(), (files ? "" : files.err().message));
  auto device = *cpu::make_device({2, "", 0, false});
  disk_reader::options how;
  how.slot_bytes = files->largest_read();
  how.slots = 2;
  auto reader = *disk_reader::start(how);
  const auto& c = (*source)->config();
  uint64_t sum = 0;
  for (uint32_t l = 0; l < c.layers; ++l)
    for (uint32_t e = 0; e < c.experts; ++e) {
      expert_key key{static_cast<layer_id>(l), static_cast<expert_id>(e)};
      outcome_box box;
      auto got = read_now(*reader, *files, key, box);
      BOOST_REQUIRE_MESSAGE(got.ok(), (got ? "" : got.err().message));
      auto direct = expert_from(*files, *device, key, got->pieces);
      auto mapped = load_expert(**source, *device, key);
      BOOST_REQUIRE(direct.ok() && mapped.ok());
      BOOST_REQUIRE(run_on(*device, *direct) == run_on(*device, *mapped));
      BOOST_REQUIRE_LE((*direct)->bytes, files->resident_bytes(key));
      BOOST_REQUIRE_LE(files->resident_bytes(key), files->largest_resident());
      sum += files->resident_bytes(key);
    }
  BOOST_CHECK_EQUAL(sum, files->all_resident());
}

} // namespace

BOOST_AUTO_TEST_SUITE(experts_in_files)

BOOST_AUTO_TEST_CASE(gguf_experts_are_read_as_they_are_mapped) {
  check_all_experts(demo);
}

BOOST_AUTO_TEST_CASE(experts_of_every_fixture_are_read_as_they_are_mapped) {
  std::filesystem::path folder = COEL_SHARED_DIR "/fixtures";
  if (!std::filesystem::exists(folder))
    return;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".gguf")
      BOOST_TEST_CONTEXT(entry.path())
  check_all_experts(entry.path());
}

BOOST_AUTO_TEST_CASE(safetensors_experts_are_read_as_they_are_mapped) {
  std::filesystem::path folder = COEL_SHARED_DIR "/models/coel-tiny-moe";
  if (std::filesystem::exists(folder / "model.safetensors"))
    check_all_experts(folder);
}

BOOST_AUTO_TEST_CASE(a_file_that_was_replaced_meanwhile_is_refused) {
  disk_folder folder;
  auto path = folder.path / "m.gguf";
  std::filesystem::copy_file(demo, path);
  auto source = *open_model(path);
  std::filesystem::copy_file(demo, folder.path / "other");
  std::filesystem::rename(folder.path / "other", path);
  auto files = expert_files::open(source, direct_file::writes::refused);
  BOOST_REQUIRE(!files.ok());
  BOOST_CHECK(files.err().code == ec::bad_file);
}

BOOST_AUTO_TEST_CASE(bytes_of_another_length_make_no_expert) {
  auto source = *open_model(demo);
  auto files = *expert_files::open(source, direct_file::writes::refused);
  auto device = *cpu::make_device({1, "", 0, false});
  std::vector<std::byte> few(100);
  auto made = files.make_piece(*device, {layer_id{0}, expert_id{0}}, 0, few);
  BOOST_REQUIRE(!made.ok());
  BOOST_CHECK(made.err().code == ec::internal);
  BOOST_CHECK(!files.make_piece(*device, {layer_id{0}, expert_id{0}}, 3, few).ok());
  BOOST_CHECK(!files.pieces({layer_id{99}, expert_id{0}}).ok());
}

BOOST_AUTO_TEST_SUITE_END()
