// Hugging Face directories: every family, sharded, and directories that are incomplete, damaged or
// made to harm.
#include "tests/model/hf_directory.hpp"

#include <fstream>
#include <sys/stat.h>

using namespace coel;
using namespace coel::test;

namespace {

constexpr const char* shapes[] = {"tiny-qwen2moe", "tiny-qwen3moe", "tiny-olmoe", "tiny-mixtral"};

struct fixture : scratch {
  scratch made; // the GGUF that the directory is made from
  model::source_ptr from;
  hf_draft draft;

  fixture() { start("tiny-qwen3moe"); }
  void start(const char* shape, size_t shards = 3) {
    auto path = model::cached_random_model(made.folder,
                                           {*model::shape_by_name(shape), dtype::f16, 0.8f, 1}, 1);
    BOOST_REQUIRE(path.ok());
    auto opened = model::open_model(*path);
    BOOST_REQUIRE_MESSAGE(opened.ok(), (opened.ok() ? "" : opened.err().message));
    from = *opened;
    draft = hf_draft_of(*from, shards);
  }
  std::string name(model::role what, uint16_t layer = 0, uint16_t expert = 0) const {
    return model::hf_tensor_name(*model::family_of_gguf(from->config().family),
                                 {what, layer_id{layer}, expert_id{expert}});
  }
  /// The error names this file of the directory; "" is the directory itself.
  void refused(ec code, const std::string& file, std::string_view part) const {
    check_refused(model::open_model(folder), code, file.empty() ? folder : folder / file, part);
  }
  template <class Change>
  void refused_config(Change change, ec code, std::string_view part) {
    draft.config = hf_config_of(from->config());
    change(draft.config);
    put("config.json", draft.config.dump());
    refused(code, "config.json", part);
  }
};

void check_same(const model::source& a, const model::source& b) {
  for (const auto& key : model::required_tensors(a.config())) {
    auto x = a.matrix(key), y = b.matrix(key);
    BOOST_REQUIRE((x.ok() && y.ok()));
    BOOST_REQUIRE(hf_tensor_of(*x).bytes == hf_tensor_of(*y).bytes);
  }
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(hf_directory_test, fixture)

BOOST_AUTO_TEST_CASE(every_family_opens_with_an_experts_parts_in_different_shards) {
  for (const char* shape : shapes)
    BOOST_TEST_CONTEXT(shape) {
      start(shape);
      using enum model::role;
      BOOST_TEST(
          (&draft.shard_of(name(expert_gate, 0, 1)) != &draft.shard_of(name(expert_up, 0, 1))));
      BOOST_TEST(
          (&draft.shard_of(name(expert_up, 0, 1)) != &draft.shard_of(name(expert_down, 0, 1))));
      draft.write(*this);
      auto opened = model::open_model(folder);
      BOOST_REQUIRE_MESSAGE(opened.ok(), (opened.ok() ? "" : opened.err().message));
      const auto &a = from->config(), &b = (*opened)->config();
      BOOST_TEST(a.family == b.family);
      BOOST_TEST(b.name == folder.filename().string());
      BOOST_TEST(a.experts == b.experts);
      BOOST_TEST(a.expert_ff == b.expert_ff);
      BOOST_TEST(a.shared_ff == b.shared_ff);
      BOOST_TEST(a.head_dim == b.head_dim);
      BOOST_TEST((a.qk == b.qk && a.qkv_bias == b.qkv_bias && a.renormalise == b.renormalise));
      BOOST_TEST((b.rope.style == compute::rope_style::half));
      BOOST_TEST((from->vocabulary().tokens == (*opened)->vocabulary().tokens));
      check_same(*from, **opened);
    }
}

BOOST_AUTO_TEST_CASE(one_file_without_an_index) {
  start("tiny-mixtral", 1);
  draft.write(*this);
  std::filesystem::rename(folder / hf_draft::shard_name(0), folder / "model.safetensors");
  std::filesystem::remove(folder / "model.safetensors.index.json");
  auto opened = model::open_model(folder / "");
  BOOST_REQUIRE_MESSAGE(opened.ok(), (opened.ok() ? "" : opened.err().message));
  BOOST_TEST((*opened)->config().name == folder.filename().string());
  check_same(*from, **opened);
}

BOOST_AUTO_TEST_CASE(a_missing_file_is_named) {
  for (const auto& gone : {std::string("config.json"), std::string("tokenizer.json"),
                           hf_draft::shard_name(0), hf_draft::shard_name(2)}) {
    draft.write(*this);
    std::filesystem::remove(folder / gone);
    refused(ec::io, gone, "No such file");
  }
  draft.write(*this);
  std::filesystem::remove(folder / "model.safetensors.index.json");
  refused(ec::io, "model.safetensors", "No such file");
}

BOOST_AUTO_TEST_CASE(a_file_cut_short_is_named) {
  for (const auto& file : {std::string("config.json"), std::string("tokenizer.json"),
                           std::string("model.safetensors.index.json"), hf_draft::shard_name(1)}) {
    draft.write(*this);
    const auto whole = bytes_of(folder / file);
    for (size_t tenth = 0; tenth < 10; ++tenth) {
      put(file, std::string_view(whole).substr(0, whole.size() * tenth / 10));
      refused(ec::bad_file, file, "");
    }
  }
}

BOOST_AUTO_TEST_CASE(things_that_are_no_files) {
  for (const char* file : {"config.json", "tokenizer.json", "model.safetensors.index.json"}) {
    draft.write(*this);
    std::filesystem::remove(folder / file);
    BOOST_REQUIRE_EQUAL(::mkfifo((folder / file).c_str(), 0600), 0);
    refused(ec::bad_file, file, "not a regular file");
    std::filesystem::remove(folder / file);
    std::filesystem::create_directory(folder / file);
    refused(ec::bad_file, file, "not a regular file");
    std::filesystem::remove(folder / file);
  }
}

BOOST_AUTO_TEST_CASE(tensors_missing_unknown_or_of_another_kind) {
  const auto down = name(model::role::expert_down, 1, 2);
  auto keep = draft;
  draft.shard_of(down).erase(down);
  draft.write(*this);
  refused(ec::bad_file, "", "tensor '" + down + "' is missing");
  draft = keep;
  draft.shards[1]["model.layers.0.surprise"] = {"F32", {1}, "1234"};
  draft.write(*this);
  refused(ec::unsupported, "", "tensor 'model.layers.0.surprise' has no place");
  draft = keep;
  draft.tensor(down).type = "F8_E4M3";
  draft.write(*this);
  refused(ec::unsupported, "", "tensor '" + down + "' is of type 'F8_E4M3'; this build reads");
  draft = keep;
  auto& shape = draft.tensor(down).shape;
  shape = {shape[0] * 2, shape[1] / 2};
  draft.write(*this);
  refused(ec::bad_file, "", "tensor '" + down + "' is [");
}

BOOST_AUTO_TEST_CASE(a_tensor_in_two_shards) {
  const auto up = name(model::role::expert_up);
  const auto t = draft.tensor(up);
  for (auto& s : draft.shards)
    s[up] = t;
  draft.write(*this);
  refused(ec::bad_file, hf_draft::shard_name(1), "another file of the model has it too");
}

BOOST_AUTO_TEST_CASE(an_index_cannot_lead_elsewhere) {
  draft.write(*this);
  for (const char* file : {"", ".", "..", "../x", "/etc/passwd", "a/b", "a\nb", "\x1b[2J"}) {
    put("model.safetensors.index.json", json{{"weight_map", {{"x", file}}}}.dump());
    refused(ec::bad_file, "model.safetensors.index.json",
            "the file of tensor 'x' is not a plain file name");
  }
  for (const char* text : {"[]", "{}", R"({"weight_map": []})"}) {
    put("model.safetensors.index.json", text);
    refused(ec::bad_file, "model.safetensors.index.json", "weight_map");
  }
  put("model.safetensors.index.json", R"({"weight_map": {"x": 7}})");
  refused(ec::bad_file, "model.safetensors.index.json", "plain file name");
  put("model.safetensors.index.json", R"({"weight_map": {}})");
  refused(ec::bad_file, "model.safetensors.index.json", "names 0 files");
}

BOOST_AUTO_TEST_CASE(configurations_that_lack_or_lie) {
  draft.write(*this);
  for (const char* key : {"num_hidden_layers", "hidden_size", "num_attention_heads", "num_experts",
                          "num_experts_per_tok", "vocab_size", "max_position_embeddings"}) {
    const auto part = "key '" + std::string(key) + "' is missing or of the wrong kind";
    refused_config([&](json& c) { c.erase(key); }, ec::bad_file, part);
    for (const json& value : {json("2"), json(-2), json(2.5), json(1ull << 32), json::array()})
      refused_config([&](json& c) { c[key] = value; }, ec::bad_file, part);
  }
  refused_config([](json& c) { c = json::array(); }, ec::bad_file, "not a JSON object");
  refused_config([](json& c) { c["model_type"] = "gpt5\x1b"; }, ec::unsupported,
                 "model_type 'gpt5?' is not one of qwen2moe (qwen2_moe)");
  refused_config(
      [](json& c) {
        c["rope_scaling"] = {{"type", "yarn"}};
      },
      ec::unsupported, "'yarn'");
  refused_config([](json& c) { c["rope_scaling"] = 7; }, ec::bad_file, "rope_scaling");
  refused_config([](json& c) { c["hidden_act"] = "gelu"; }, ec::unsupported, "'gelu'");
  refused_config(
      [](json& c) {
        c["quantization_config"] = {{"bits", 4}};
      },
      ec::unsupported, "use a GGUF");
}

BOOST_AUTO_TEST_CASE(sizes_out_of_bounds) {
  draft.write(*this);
  for (const char* key : {"num_hidden_layers", "num_experts", "hidden_size", "vocab_size"}) {
    auto c = draft.config;
    for (uint32_t n : {0u, 1u << 30, UINT32_MAX}) {
      c[key] = n;
      put("config.json", c.dump());
      refused(ec::bad_file, "", "");
    }
  }
}

BOOST_AUTO_TEST_CASE(a_vocabulary_larger_than_the_embedding) {
  const auto n = from->config().vocab;
  draft.tokenizer["added_tokens"].push_back({{"id", n}, {"content", "<more>"}, {"special", true}});
  draft.write(*this);
  refused(ec::bad_file, "", "the embedding only " + std::to_string(n));
}

BOOST_AUTO_TEST_SUITE_END()
