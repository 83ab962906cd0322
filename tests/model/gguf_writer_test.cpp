#include "model/gguf.hpp"
#include "model/gguf_writer.hpp"
#include "model/gguf_writer_layout.hpp"

#include <boost/test/unit_test.hpp>

#include <cstring>
#include <fstream>
#include <thread>
#include <unistd.h>

namespace {

using namespace coel;
using namespace coel::model;

/// A folder of its own that goes away with the test.
struct scratch {
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("coel-gguf-writer-" + std::to_string(::getpid()));
  std::filesystem::path file = folder / "model.gguf";
  std::filesystem::path part = folder / "model.gguf.part";
  scratch() { std::filesystem::create_directories(folder); }
  ~scratch() { std::filesystem::remove_all(folder); }
};

std::vector<gguf_tensor_info> some_tensors() {
  return {{"a", dtype::f32, {5}}, {"b.weight", dtype::q8_0, {64, 3}}, {"c", dtype::f16, {2, 3, 4}}};
}

std::vector<std::byte> pattern(size_t n, int seed) {
  std::vector<std::byte> bytes(n);
  for (size_t i = 0; i < n; ++i)
    bytes[i] = static_cast<std::byte>(i * 31 + static_cast<size_t>(seed));
  return bytes;
}

bool holds(const gguf_file& file, const char* name, const std::vector<std::byte>& bytes) {
  const auto* t = file.tensor(name);
  return t && t->data.bytes() == bytes.size() &&
         std::memcmp(t->data.data, bytes.data(), bytes.size()) == 0;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(gguf_writer_test, scratch)

BOOST_AUTO_TEST_CASE(what_is_written_is_read_back) {
  std::vector<gguf_pair> metadata{{"flag", true},
                                  {"count", uint32_t{7}},
                                  {"large", uint64_t{1} << 40},
                                  {"below", int32_t{-3}},
                                  {"real", 0.5f},
                                  {"name", std::string("größe")},
                                  {"numbers", std::vector<int32_t>{1, -2, 3}},
                                  {"reals", std::vector<float>{0.25f, -1.f}},
                                  {"texts", std::vector<std::string>{"a", "", "ccc"}}};
  auto tensors = some_tensors();
  auto writer = gguf_writer::create(file, metadata, tensors);
  BOOST_REQUIRE(writer.ok());
  std::vector<std::vector<std::byte>> data;
  for (size_t i = tensors.size(); i-- > 0;) { // any order, any split
    data.insert(data.begin(), pattern(tensors[i].bytes(), static_cast<int>(i)));
    auto bytes = std::span(data.front());
    BOOST_REQUIRE((*writer)->write(i, 10, bytes.subspan(10)).ok());
    BOOST_REQUIRE((*writer)->write(i, 0, bytes.first(10)).ok());
  }
  BOOST_TEST(!std::filesystem::exists(file));
  BOOST_REQUIRE((*writer)->finish().ok());
  BOOST_TEST(!std::filesystem::exists(part));

  auto read = gguf_file::open(file);
  BOOST_REQUIRE_MESSAGE(read.ok(), (read.ok() ? "" : read.err().message));
  BOOST_TEST(read->version() == 3u);
  BOOST_TEST(read->flag("flag").value() == true);
  BOOST_TEST(read->number("count").value() == 7u);
  BOOST_TEST(read->number("large").value() == uint64_t{1} << 40);
  BOOST_TEST(std::get<int64_t>(*read->find("below")) == -3);
  BOOST_TEST(read->real("real").value() == 0.5);
  BOOST_TEST(*read->text("name") == "größe");
  BOOST_TEST(
      (std::get<std::vector<int64_t>>(*read->find("numbers")) == std::vector<int64_t>{1, -2, 3}));
  BOOST_TEST(
      (std::get<std::vector<double>>(*read->find("reals")) == std::vector<double>{0.25, -1}));
  BOOST_TEST((std::get<std::vector<std::string>>(*read->find("texts")) ==
              std::vector<std::string>{"a", "", "ccc"}));
  BOOST_TEST(read->tensors().size() == 3u);
  for (size_t i = 0; i < tensors.size(); ++i) {
    BOOST_TEST(holds(*read, tensors[i].name.c_str(), data[i]));
    BOOST_TEST((read->tensor(tensors[i].name)->shape == tensors[i].shape));
    auto offset = read->tensor(tensors[i].name)->data.data - read->files()[0]->bytes().data();
    BOOST_TEST(offset % 32 == 0);
  }
  BOOST_TEST(std::filesystem::file_size(file) == (*writer)->file_bytes());
}

BOOST_AUTO_TEST_CASE(an_unfinished_file_leaves_nothing_and_keeps_the_old_one) {
  std::ofstream(file) << "old";
  {
    auto writer = gguf_writer::create(file, {}, some_tensors());
    BOOST_REQUIRE(writer.ok());
    BOOST_TEST(std::filesystem::exists(part));
    auto early = (*writer)->finish();
    BOOST_REQUIRE(!early.ok());
    BOOST_TEST((early.err().code == ec::internal));
  }
  BOOST_TEST(!std::filesystem::exists(part));
  BOOST_TEST(std::filesystem::file_size(file) == 3u);
}

BOOST_AUTO_TEST_CASE(the_part_of_a_dead_run_is_reused) {
  std::ofstream(part) << std::string(100000, 'x');
  auto writer = gguf_writer::create(file, {}, {{"a", dtype::f32, {4}}});
  BOOST_REQUIRE(writer.ok());
  BOOST_REQUIRE((*writer)->write(0, 0, pattern(16, 1)).ok());
  BOOST_REQUIRE((*writer)->finish().ok());
  auto read = gguf_file::open(file);
  BOOST_REQUIRE(read.ok());
  BOOST_TEST(holds(*read, "a", pattern(16, 1)));
  BOOST_TEST(std::filesystem::file_size(file) < 1000u);
}

BOOST_AUTO_TEST_CASE(two_writers_of_one_file_are_refused) {
  auto first = gguf_writer::create(file, {}, some_tensors());
  BOOST_REQUIRE(first.ok());
  auto second = gguf_writer::create(file, {}, some_tensors());
  BOOST_REQUIRE(!second.ok());
  BOOST_TEST((second.err().code == ec::busy));
  BOOST_TEST(std::filesystem::exists(part));
}

BOOST_AUTO_TEST_CASE(bad_tensors_and_places_are_refused) {
  auto code = [&](std::vector<gguf_tensor_info> tensors) {
    auto writer = gguf_writer::create(file, {}, std::move(tensors));
    return writer.ok() ? ec::none : writer.err().code;
  };
  BOOST_TEST((code({{"a", dtype::f32, {}}}) == ec::bad_argument));
  BOOST_TEST((code({{"a", dtype::f32, {3, 0}}}) == ec::bad_argument));
  BOOST_TEST((code({{"a", dtype::q4_0, {33}}}) == ec::bad_argument));
  BOOST_TEST((code({{"a", dtype::f32, {3}}, {"a", dtype::f32, {3}}}) == ec::bad_argument));

  auto writer = gguf_writer::create(file, {}, {{"a", dtype::f32, {4}}});
  BOOST_REQUIRE(writer.ok());
  BOOST_TEST(!(*writer)->write(1, 0, pattern(4, 0)).ok());
  BOOST_TEST(!(*writer)->write(0, 4, pattern(16, 0)).ok());
  BOOST_TEST(!(*writer)->write(0, UINT64_MAX, pattern(4, 0)).ok());
}

BOOST_AUTO_TEST_CASE(a_folder_that_is_missing_or_a_disk_too_small_is_said) {
  auto nowhere = gguf_writer::create(folder / "no" / "x.gguf", {}, some_tensors());
  BOOST_REQUIRE(!nowhere.ok());
  BOOST_TEST((nowhere.err().code == ec::io));
  BOOST_TEST(nowhere.err().message.find("x.gguf") != std::string::npos);
  auto huge = gguf_writer::create(file, {}, {{"a", dtype::f32, {uint64_t{1} << 50}}});
  BOOST_REQUIRE(!huge.ok());
  BOOST_TEST((huge.err().code == ec::io));
  BOOST_TEST(!std::filesystem::exists(part));
}

BOOST_AUTO_TEST_CASE(types_follow_rows_and_roles) {
  model_config c;
  c.family = "qwen2moe";
  c.layers = 1;
  c.hidden = 256;
  c.heads = c.kv_heads = 4;
  c.head_dim = 64;
  c.experts = 4;
  c.expert_ff = 96;
  c.shared_ff = 40;
  c.vocab = 300;
  c.qkv_bias = c.shared_gated = true;
  auto type = [&](role what, dtype asked) {
    for (const auto& t : plan_tensors(c, asked))
      if (t.what == what)
        return t.type;
    return dtype::bf16;
  };
  for (auto asked : {dtype::q4_k, dtype::q8_0, dtype::q4_0})
    for (auto what :
         {role::router, role::shared_router, role::attn_norm, role::attn_q_bias, role::output_norm})
      BOOST_TEST((type(what, asked) == dtype::f32));
  BOOST_TEST((type(role::attn_q, dtype::q4_k) == dtype::q4_k));
  BOOST_TEST((type(role::token_embedding, dtype::q4_k) == dtype::q4_k));
  BOOST_TEST((type(role::output, dtype::q4_k) == dtype::q6_k));
  BOOST_TEST((type(role::output, dtype::q8_0) == dtype::q8_0));
  BOOST_TEST((type(role::expert_down, dtype::q4_k) == dtype::q8_0)); // rows of 96
  BOOST_TEST((type(role::shared_down, dtype::q4_k) == dtype::f16));  // rows of 40
  BOOST_TEST((type(role::shared_down, dtype::q4_0) == dtype::f16));
  BOOST_TEST(
      describe_fallbacks(plan_tensors(c, dtype::q4_k)) ==
      "ffn_down_exps.weight as q8_0 (rows of 96), ffn_down_shexp.weight as f16 (rows of 40)");
  BOOST_TEST(describe_fallbacks(plan_tensors(c, dtype::f16)).empty());
  c.tied_output = true;
  BOOST_TEST((type(role::token_embedding, dtype::q4_k) == dtype::q6_k));
}

BOOST_AUTO_TEST_SUITE_END()
