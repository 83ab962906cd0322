// safetensors files that are cut short, damaged, or made to harm.
#include "compute/quant.hpp"
#include "model/safetensors.hpp"
#include "tests/model/model_files.hpp"

using namespace coel;
using namespace coel::test;

namespace {

std::string file_of(std::string_view header, size_t data) {
  return raw_text(header) + std::string(data, '\x11');
}

const std::string good = R"({"__metadata__": {"format": "pt"},
  "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
  "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
  "c": {"dtype": "F16", "shape": [2, 2, 2], "data_offsets": [32, 48]},
  "d": {"dtype": "I64", "shape": [], "data_offsets": [48, 56]}})";
constexpr size_t good_data = 56;

result<void> read(const std::filesystem::path& path, model::tensor_map& into) {
  auto file = model::mapped_file::open(path);
  return file ? model::read_safetensors(*file, into) : result<void>(file.err());
}

struct fixture : scratch {
  void refused(std::string_view header, std::string_view part, size_t data = 16) const {
    refused_file(file_of(header, data), part);
  }
  void refused_file(const std::string& bytes, std::string_view part) const {
    auto path = put("model.safetensors", bytes);
    model::tensor_map into;
    check_refused(read(path, into), ec::bad_file, path, part);
  }
  /// One entry "x" with these fields.
  void refused_entry(const std::string& fields, std::string_view part) const {
    refused(R"({"x": {)" + fields + "}}", part);
    refused(R"({"x": {)" + fields + "}}", "tensor 'x'");
  }
};

/// Accepted and readable, or refused in words that can be shown.
bool survives(const std::filesystem::path& path) {
  model::tensor_map found;
  if (auto ok = read(path, found); !ok)
    return presentable(ok.err().message, path);
  for (const auto& [name, view] : found.tensors)
    if (compute::to_f32(view).size() != view.rows * view.cols)
      return false;
  return true;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(hostile_safetensors, fixture)

BOOST_AUTO_TEST_CASE(the_undamaged_file_is_read) {
  model::tensor_map found;
  auto ok = read(put("model.safetensors", file_of(good, good_data)), found);
  BOOST_REQUIRE_MESSAGE(ok.ok(), (ok.ok() ? "" : ok.err().message));
  BOOST_TEST(found.tensors.size() == 3u);
  BOOST_TEST(found.tensors.at("c").rows == 4u);
  BOOST_TEST(found.tensors.at("b").cols == 4u);
  BOOST_TEST(found.of_other_types.at("d") == "I64");
}

BOOST_AUTO_TEST_CASE(cut_anywhere_it_is_refused) {
  const auto whole = file_of(good, good_data);
  for (size_t n = 0; n < whole.size(); ++n) {
    auto path = put("cut.safetensors", std::string_view(whole).substr(0, n));
    model::tensor_map found;
    auto ok = read(path, found);
    BOOST_REQUIRE_MESSAGE(!ok.ok(), n << " bytes were accepted");
    BOOST_REQUIRE_MESSAGE(presentable(ok.err().message, path), ok.err().message);
  }
}

BOOST_AUTO_TEST_CASE(any_bit_of_the_header_may_be_wrong) {
  const auto whole = file_of(good, good_data);
  const damaged_file file(whole);
  for (size_t i = 0; i < whole.size() - good_data; file.restore(i++, 1))
    for (int bit = 0; bit < 8; ++bit) {
      file.flip(i, bit);
      BOOST_REQUIRE_MESSAGE(survives(file.path()), "byte " << i << ", bit " << bit);
    }
}

BOOST_AUTO_TEST_CASE(headers_longer_than_the_file) {
  for (uint64_t n :
       {uint64_t{60}, uint64_t{1} << 31, uint64_t{1} << 63, UINT64_MAX - 7, UINT64_MAX})
    refused_file(raw(n) + std::string(50, ' '), "claims a header of " + std::to_string(n));
  refused_file("", "empty");
  refused_file("1234567", "too short");
}

BOOST_AUTO_TEST_CASE(headers_that_are_no_list_of_tensors) {
  refused("", "parse error");
  refused("[]", "not a JSON object");
  refused("7", "not a JSON object");
  refused("{", "parse error");
  refused("{} {}", "parse error");
  refused("{\"\xff\xfe\": 1}", "UTF-8");
  refused(std::string(10000, '['), "nested too deeply");
  refused(R"({"a":)" + std::string(100, '[') + std::string(100, ']') + "}", "nested too deeply");
}

BOOST_AUTO_TEST_CASE(entries_that_are_malformed) {
  const std::string type = R"("dtype": "F32")", shape = R"("shape": [4])",
                    place = R"("data_offsets": [0, 16])";
  for (const char* entry : {"7", "null", "[]", "\"F32\""})
    refused(R"({"x": )" + std::string(entry) + "}", "the dtype is missing or malformed");
  refused_entry("", "the dtype is missing");
  refused_entry(R"("dtype": 7)", "the dtype is missing");
  refused_entry(type + "," + place, "the shape is missing");
  refused_entry(type + "," + shape, "data_offsets is missing");
  for (const char* list : {"[0]", "[0, 16, 32]", "16", "[0, \"16\"]", "[-1, 16]", "[0, 16.0]",
                           "[0, 1e3]", "[[0], 16]", "[0, 18446744073709551616]"})
    refused_entry(type + "," + shape + R"(, "data_offsets": )" + list, "data_offsets");
  for (const char* list : {"4", "[4.0]", "[-4]", "[null]", "[1, 1, 1, 1, 1, 1, 1, 1, 4]"})
    refused_entry(type + "," + place + R"(, "shape": )" + list,
                  "the shape is missing or malformed");
}

BOOST_AUTO_TEST_CASE(extents_that_cannot_be) {
  auto with = [](const std::string& shape, const std::string& place) {
    return R"("dtype": "F32", "shape": )" + shape + R"(, "data_offsets": )" + place;
  };
  for (const char* place :
       {"[0, 17]", "[16, 0]", "[1, 17]", "[18446744073709551600, 16]", "[0, 18446744073709551615]"})
    refused_entry(with("[4]", place), "lies outside the file");
  refused_entry(with("[3]", "[0, 16]"), "the data is 16 bytes, the shape needs 12");
  for (const char* shape : {"[0]", "[4, 0]", "[18446744073709551615]", "[4294967296, 4294967296]",
                            "[2, 9223372036854775808, 1]", "[4611686018427387904]"})
    refused_entry(with(shape, "[0, 16]"), "the shape is empty or overflows");
}

BOOST_AUTO_TEST_CASE(data_and_names_used_twice) {
  const std::string one = R"({"dtype": "F32", "shape": [2], "data_offsets": [0, 8]})",
                    other = R"({"dtype": "F32", "shape": [2], "data_offsets": [4, 12]})";
  refused(R"({"x": )" + one + R"(, "y": )" + other + "}", "'x' and 'y' overlap");
  refused(R"({"x": )" + one + R"(, "x": )" + other + "}", "key 'x' appears twice");
  const auto bytes = file_of(R"({"x": )" + one + "}", 8);
  model::tensor_map found;
  BOOST_REQUIRE(read(put("1.safetensors", bytes), found).ok());
  auto second = put("2.safetensors", bytes);
  check_refused(read(second, found), ec::bad_file, second, "another file of the model has it too");
}

BOOST_AUTO_TEST_CASE(what_a_file_says_is_quoted_with_care) {
  const auto name = R"(\u001b[2J\n)" + std::string(5000, 'x');
  refused(R"({")" + name + R"(": {}})", "tensor '?[2J?xxx");
  refused(R"({")" + name + "\xff\": {}}", "UTF-8");
}

BOOST_AUTO_TEST_SUITE_END()
