// Models in several GGUF files: any order of opening, and sets that do not belong together.
#include "model/family.hpp"
#include "model/gguf.hpp"
#include "model/source.hpp"
#include "tests/model/gguf_draft.hpp"

using namespace coel;
using namespace coel::test;

namespace {

constexpr uint32_t parts = 3;

std::string part_name(uint32_t i, uint32_t of = parts) {
  return "m-0000" + std::to_string(i + 1) + "-of-0000" + std::to_string(of) + ".gguf";
}

/// The small model over three files: metadata in the first, tensors dealt out in turn.
std::vector<gguf_draft> dealt_out() {
  const auto whole = small_gguf();
  std::vector<gguf_draft> all(parts);
  all[0].metadata = whole.metadata;
  for (uint32_t i = 0; i < parts; ++i) {
    all[i].set("split.no", gguf_number(i));
    all[i].set("split.count", gguf_number(parts));
  }
  all[0].set("split.tensors.count", gguf_number(static_cast<uint32_t>(whole.tensors.size())));
  for (size_t t = 0; t < whole.tensors.size(); ++t)
    all[t % parts].add(whole.tensors[t].name, whole.tensors[t].shape);
  return all;
}

struct fixture : scratch {
  std::vector<gguf_draft> drafts = dealt_out();

  void write() const {
    for (uint32_t i = 0; i < parts; ++i)
      put(part_name(i), drafts[i].bytes());
  }
  /// Whichever part is opened, the message names the file that is at fault.
  void refused(ec code, uint32_t at_fault, std::string_view part) const {
    for (uint32_t i = 0; i < parts; ++i)
      if (exists(folder / part_name(i)))
        check_refused(model::open_model(folder / part_name(i)), code, folder / part_name(at_fault),
                      part);
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(split_gguf, fixture)

BOOST_AUTO_TEST_CASE(any_part_opens_the_whole) {
  write();
  for (uint32_t i = 0; i < parts; ++i) {
    auto opened = model::open_model(folder / part_name(i));
    BOOST_REQUIRE_MESSAGE(opened.ok(), (opened.ok() ? "" : opened.err().message));
    const auto& source = **opened;
    BOOST_TEST(source.info().files.size() == parts);
    BOOST_TEST((source.info().files[2] == folder / part_name(2)));
    for (const auto& key : model::required_tensors(source.config()))
      BOOST_TEST(source.matrix(key).ok());
  }
}

BOOST_AUTO_TEST_CASE(each_tensor_is_read_from_its_own_part) {
  write();
  auto whole = model::gguf_file::open(folder / part_name(0));
  BOOST_REQUIRE(whole.ok());
  for (uint32_t i = 0; i < parts; ++i)
    for (const auto& t : drafts[i].tensors) {
      const auto* found = whole->tensor(t.name);
      BOOST_REQUIRE(found != nullptr);
      BOOST_TEST((found->file == whole->files()[i]));
      const auto bytes = drafts[i].bytes();
      const auto at = bytes.size() - drafts[i].data_bytes + t.offset;
      BOOST_TEST(std::memcmp(found->data.data, bytes.data() + at, found->data.bytes()) == 0);
    }
}

BOOST_AUTO_TEST_CASE(a_missing_part_is_named) {
  for (uint32_t gone = 0; gone < parts; ++gone) {
    write();
    std::filesystem::remove(folder / part_name(gone));
    refused(ec::io, gone, "cannot open");
  }
}

BOOST_AUTO_TEST_CASE(parts_in_each_others_place) {
  write();
  put(part_name(1), drafts[2].bytes());
  put(part_name(2), drafts[1].bytes());
  refused(ec::bad_file, 1, "do not say that it is part 2 of 3");
}

BOOST_AUTO_TEST_CASE(a_damaged_part_is_named) {
  write();
  const auto bytes = drafts[1].bytes();
  put(part_name(1), std::string_view(bytes).substr(0, bytes.size() - 1));
  check_refused(model::open_model(folder / part_name(0)), ec::bad_file, folder / part_name(1),
                "truncated?");
}

BOOST_AUTO_TEST_CASE(counts_that_differ) {
  drafts[2].set("split.count", gguf_number(4));
  write();
  check_refused(model::open_model(folder / part_name(0)), ec::bad_file, folder / part_name(2),
                "do not say that it is part 3 of 3");
  drafts = dealt_out();
  drafts[0].set("split.tensors.count", gguf_number(99));
  write();
  refused(ec::bad_file, 0, "split.tensors.count is 99");
}

BOOST_AUTO_TEST_CASE(a_part_without_its_number) {
  for (const auto& value : {gguf_text("1"), gguf_real(1), gguf_number(7)}) {
    drafts = dealt_out();
    drafts[1].set("split.no", value);
    write();
    refused(ec::bad_file, 1, "split.no");
  }
}

BOOST_AUTO_TEST_CASE(a_tensor_in_two_parts) {
  const auto twice = drafts[0].tensors[0];
  drafts[2].add(twice.name, twice.shape);
  write();
  refused(ec::bad_file, 2, "tensor 'token_embd.weight' is in an earlier part too");
}

BOOST_AUTO_TEST_CASE(a_tensor_in_no_part) {
  drafts[1].tensors.pop_back();
  write();
  refused(ec::bad_file, 0, "split.tensors.count");
}

BOOST_AUTO_TEST_CASE(names_and_counts_that_are_not_of_a_set) {
  auto path = put("renamed.gguf", drafts[0].bytes());
  check_refused(model::open_model(path), ec::bad_file, path, "its name is not NAME-00001-of-0000N");
  for (uint32_t count : {1001u, UINT32_MAX}) {
    drafts[0].set("split.count", gguf_number(count));
    path = put(part_name(0), drafts[0].bytes());
    check_refused(model::open_model(path), ec::bad_file, path, std::to_string(count) + " parts");
  }
}

BOOST_AUTO_TEST_SUITE_END()
