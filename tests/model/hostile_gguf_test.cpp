// GGUF files that are cut short, damaged, or made to harm.
#include "compute/quant.hpp"
#include "model/family.hpp"
#include "model/gguf.hpp"
#include "model/source.hpp"
#include "model/tokenizer.hpp"
#include "tests/model/gguf_draft.hpp"

#include <limits>
#include <sys/stat.h>

using namespace coel;
using namespace coel::test;

namespace {

struct fixture : scratch {
  gguf_draft draft = small_gguf();

  void refused(ec code, std::string_view part) {
    auto path = put("model.gguf", draft.bytes());
    check_refused(model::open_model(path), code, path, part);
  }
  /// The same, of the small model after one change.
  template <class Change>
  void refused(Change change, std::string_view part, ec code = ec::bad_file) {
    draft = small_gguf();
    change(draft);
    refused(code, part);
  }
};

/// What was accepted can be read to the last byte.
void read_all(const model::source& source) {
  for (const auto& key : model::required_tensors(source.config())) {
    auto matrix = source.matrix(key);
    BOOST_REQUIRE(matrix.ok());
    BOOST_REQUIRE(compute::to_f32(*matrix).size() == matrix->rows * matrix->cols);
  }
}

/// Accepted and readable, or refused in words that can be shown.
bool survives(const std::filesystem::path& path) {
  auto opened = model::open_model(path);
  if (!opened)
    return presentable(opened.err().message, path);
  read_all(**opened);
  if (auto made = model::make_tokenizer((*opened)->vocabulary()))
    (*made)->decode((*made)->encode("ab a", true, true));
  return true;
}

constexpr uint64_t vast[] = {1ull << 31, 1ull << 32, 1ull << 62, 1ull << 63, UINT64_MAX};

} // namespace

BOOST_FIXTURE_TEST_SUITE(hostile_gguf, fixture)

BOOST_AUTO_TEST_CASE(the_undamaged_file_opens) {
  auto opened = model::open_model(put("model.gguf", draft.bytes()));
  BOOST_REQUIRE_MESSAGE(opened.ok(), (opened.ok() ? "" : opened.err().message));
  read_all(**opened);
  BOOST_TEST((*opened)->config().name == "model");
}

BOOST_AUTO_TEST_CASE(cut_anywhere_it_is_refused) {
  const auto whole = draft.bytes();
  const auto header = draft.header().size();
  for (size_t n = 0; n < whole.size(); n += n < header ? 1 : 61) {
    auto path = put("cut.gguf", std::string_view(whole).substr(0, n));
    auto opened = model::open_model(path);
    BOOST_REQUIRE_MESSAGE(!opened.ok(), n << " bytes were accepted");
    BOOST_REQUIRE_MESSAGE(presentable(opened.err().message, path), opened.err().message);
  }
}

BOOST_AUTO_TEST_CASE(any_bit_of_the_header_may_be_wrong) {
  const damaged_file file(draft.bytes());
  const auto size = draft.header().size();
  for (size_t i = 0; i < size; file.restore(i++, 1))
    for (int bit = 0; bit < 8; ++bit) {
      file.flip(i, bit);
      BOOST_REQUIRE_MESSAGE(survives(file.path()), "byte " << i << ", bit " << bit);
    }
}

BOOST_AUTO_TEST_CASE(any_field_may_be_as_large_as_it_gets) {
  const damaged_file file(draft.bytes());
  const auto size = draft.header().size();
  for (size_t i = 4; i + 8 <= size; file.restore(i++, 8)) {
    file.change(i, raw(i % 2 ? UINT64_MAX : uint64_t{INT64_MAX}));
    BOOST_REQUIRE_MESSAGE(survives(file.path()), "byte " << i);
  }
}

BOOST_AUTO_TEST_CASE(other_files_and_versions) {
  refused([](auto& d) { d.magic = "GGML"; }, "not a GGUF file");
  for (uint32_t version : {0u, 1u, 4u, 3u << 24})
    refused([&](auto& d) { d.version = version; }, "this build reads versions 2 and 3",
            ec::unsupported);
}

BOOST_AUTO_TEST_CASE(counts_that_no_file_holds) {
  for (auto n : vast) {
    const auto claimed = "claims " + std::to_string(n);
    refused([&](auto& d) { d.tensor_count = n; }, claimed + " tensors");
    refused([&](auto& d) { d.pair_count = n; }, claimed + " metadata entries");
    for (auto kind : {gguf_kind::u8, gguf_kind::f32, gguf_kind::string, gguf_kind::u64})
      refused([&](auto& d) { d.set("x", raw(gguf_kind::array) + raw(kind) + raw(n)); },
              claimed + " array items");
    refused([&](auto& d) { d.set("x", raw(gguf_kind::string) + raw(n)); },
            "a string of " + std::to_string(n) + " bytes");
  }
  refused([](auto& d) { d.tensor_count = d.tensors.size() + 1; }, "");
  refused([](auto& d) { d.tensor_count = d.tensors.size() - 1; }, "is missing");
}

BOOST_AUTO_TEST_CASE(arrays_together_are_bounded) {
  // Each array fits the file and the bound; all of them would take many times the file's size.
  auto bytes = raw(gguf_kind::array) + raw(gguf_kind::u8) + raw<uint64_t>(6 << 20);
  bytes.resize(bytes.size() + (6 << 20));
  for (const char* key : {"x", "y", "z"})
    draft.set(key, bytes);
  refused(ec::bad_file, "array items");
}

BOOST_AUTO_TEST_CASE(kinds_that_there_are_not) {
  for (uint32_t kind : {13u, 255u, UINT32_MAX}) {
    refused([&](auto& d) { d.set("x", raw(kind) + raw<uint64_t>(0)); }, "metadata of unknown kind");
    refused([&](auto& d) { d.set("x", raw(gguf_kind::array) + raw(kind) + raw<uint64_t>(0)); },
            "array of unknown kind");
  }
  refused([](auto& d) { d.set("x", raw(gguf_kind::array) + raw(gguf_kind::array) + raw(1ull)); },
          "nested");
}

BOOST_AUTO_TEST_CASE(names_twice) {
  refused([](auto& d) { d.metadata.push_back(d.metadata.back()); },
          "metadata key 'tokenizer.ggml.unknown_token_id' appears twice");
  refused(
      [](auto& d) {
        auto offset = d.data_bytes;
        d.add("output_norm.weight", {8});
        d.tensors.back().offset = offset;
      },
      "tensor 'output_norm.weight' appears twice");
}

BOOST_AUTO_TEST_CASE(shapes_that_cannot_be) {
  auto shape = [](std::vector<uint64_t> s) {
    return [s](gguf_draft& d) { d.find("blk.0.attn_q.weight").shape = s; };
  };
  refused(shape({}), "has 0 dimensions");
  refused(shape({8, 8, 1, 1, 1}), "has 5 dimensions");
  for (auto s : {std::vector<uint64_t>{0, 8},
                 {8, 0},
                 {UINT64_MAX, 1},
                 {1, UINT64_MAX},
                 {1ull << 32, 1ull << 32},
                 {8, 1ull << 32, 1ull << 32, 1ull << 32}})
    refused(shape(s), "is empty or overflows");
  refused(shape({8, 1ull << 40}), "lies outside the file");
  refused(shape({8, 4}),
          "tensor 'blk.0.attn_q.weight' is [4, 8], the configuration requires [8, 8]");
}

BOOST_AUTO_TEST_CASE(types_that_are_not_run) {
  auto type = [](uint32_t t) {
    return [t](gguf_draft& d) { d.find("blk.0.attn_q.weight").type = t; };
  };
  refused(type(3), "is of type Q4_1; this build reads f32", ec::unsupported);
  refused(type(12345), "is of type number 12345", ec::unsupported);
  refused(type(8), "8 elements, do not divide into blocks of q8_0");
}

BOOST_AUTO_TEST_CASE(data_that_is_not_there) {
  auto offset = [](uint64_t at) {
    return [at](gguf_draft& d) { d.find("output_norm.weight").offset = at; };
  };
  for (uint64_t at : {uint64_t{1}, uint64_t{16}, uint64_t{1} << 20, uint64_t{1} << 63,
                      UINT64_MAX - 31, UINT64_MAX})
    refused(offset(at), "data of tensor 'output_norm.weight' is misaligned or lies outside");
  refused(offset(0), "overlap");
  refused([](auto& d) { d.data_bytes -= 32; }, "blk.0.ffn_down_exps.weight");
}

BOOST_AUTO_TEST_CASE(alignments_that_cannot_be) {
  for (uint32_t n : {0u, 1u, 4u, 24u, 1u << 21, UINT32_MAX})
    refused([&](auto& d) { d.set("general.alignment", gguf_number(n)); }, "general.alignment");
  refused([](auto& d) { d.set("general.alignment", gguf_text("32")); }, "general.alignment");
}

BOOST_AUTO_TEST_CASE(configurations_out_of_bounds) {
  for (const char* key : {"block_count", "embedding_length", "attention.head_count", "expert_count",
                          "expert_used_count", "context_length"})
    for (uint32_t n : {1u << 30, UINT32_MAX})
      refused([&](auto& d) { d.set("llama." + std::string(key), gguf_number(n)); }, "");
  for (const char* key : {"block_count", "context_length", "attention.head_count_kv"})
    refused([&](auto& d) { d.set("llama." + std::string(key), gguf_text("many")); },
            "metadata key 'llama." + std::string(key) + "' is missing or of the wrong kind");
  refused([](auto& d) { d.set("llama.expert_used_count", gguf_number(3)); },
          "a token uses 3 experts of only 2");
  refused([](auto& d) { d.set("llama.attention.layer_norm_rms_epsilon", gguf_real(-1)); },
          "epsilon");
  refused([](auto& d) { d.set("llama.expert_count", gguf_number(0)); }, "without experts",
          ec::unsupported);
}

BOOST_AUTO_TEST_CASE(what_a_file_says_is_quoted_with_care) {
  const auto rude = std::string("\x1b[2J\n\xff") + std::string(5000, 'x');
  refused([&](auto& d) { d.set("general.architecture", gguf_text(rude)); },
          "architecture '?[2J??xxx", ec::unsupported);
  refused([&](auto& d) { d.add(rude, {8}); }, "'?[2J??xxx", ec::unsupported);
  draft = small_gguf();
  draft.set("general.name", gguf_text(rude));
  auto opened = model::open_model(put("model.gguf", draft.bytes()));
  BOOST_REQUIRE(opened.ok());
  BOOST_TEST((*opened)->config().name.starts_with("?[2J??xxx"));
  BOOST_TEST((*opened)->config().name.size() < 200u);
}

BOOST_AUTO_TEST_CASE(vocabularies_that_do_not_fit) {
  refused(
      [](auto& d) {
        d.set("tokenizer.ggml.tokens", gguf_texts({"a", "b", "c", "d"}));
      },
      "the vocabulary has 4 tokens, the embedding only 3");
  refused([](auto& d) { d.set("tokenizer.ggml.tokens", gguf_number(3)); }, "is of the wrong kind");
  refused([](auto& d) { d.set("tokenizer.ggml.tokens", gguf_texts({})); }, "is missing or empty");
  refused([](auto& d) { d.set("tokenizer.ggml.model", gguf_text("bert")); },
          "tokenizer 'bert' is not one of gpt2 and llama", ec::unsupported);
  refused(
      [](auto& d) {
        d.set("tokenizer.ggml.scores", raw(gguf_kind::array) + raw(gguf_kind::f32) + raw(1ull) +
                                           raw(std::numeric_limits<float>::quiet_NaN()));
      },
      "not a number");
}

BOOST_AUTO_TEST_CASE(tensors_too_many_or_too_few) {
  refused([](auto& d) { d.add("blk.0.attn_sinks.weight", {8}); },
          "tensor 'blk.0.attn_sinks.weight' has no place", ec::unsupported);
  refused([](auto& d) { d.find("output_norm.weight").name = "output_norm.bias"; },
          "tensor 'output_norm.weight' is missing");
  refused(
      [](auto& d) {
        d.find("blk.0.ffn_up_exps.weight").shape = {8, 8, 1};
      },
      "does not hold 2 experts of 8 rows");
}

BOOST_AUTO_TEST_CASE(things_that_are_no_files) {
  auto gone = folder / "gone.gguf";
  check_refused(model::open_model(gone), ec::io, gone, "No such file");
  auto empty = put("empty.gguf", "");
  check_refused(model::open_model(empty), ec::bad_file, empty, "the file is empty");
  auto pipe = folder / "pipe.gguf";
  BOOST_REQUIRE_EQUAL(::mkfifo(pipe.c_str(), 0600), 0);
  check_refused(model::open_model(pipe), ec::bad_file, pipe, "not a regular file");
}

BOOST_AUTO_TEST_SUITE_END()
