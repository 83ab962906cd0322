// Token ids against vectors made elsewhere: the demo model's, and two public vocabularies that are
// read from shared/ and never committed.
#include "model/gguf_model.hpp"
#include "model/hf_tokenizer.hpp"
#include "model/json.hpp"
#include "tests/model/tokenizer_support.hpp"

#include <cstdlib>
#include <fstream>
#include <sstream>

using namespace coel;
using coel::test::make;
using coel::test::missing;
namespace fs = std::filesystem;

namespace {

const fs::path shared = COEL_SHARED_DIR;

model::tokenizer_ptr from_gguf(const fs::path& path) {
  auto file = model::gguf_file::open(path);
  BOOST_REQUIRE_MESSAGE(file.ok(), (file.ok() ? "" : file.err().message));
  return make(model::gguf_vocabulary(*file));
}

std::string slurp(const fs::path& path) {
  std::ostringstream all;
  all << std::ifstream(path, std::ios::binary).rdbuf();
  return all.str();
}

/// Texts stand between lines `__ggml_vocab_test__`; ids of each on a line of the .out file.
void check_vectors(const std::string& name) {
  auto packed = shared / "fixtures/vocab" / ("ggml-vocab-" + name + ".gguf.gz");
  if (missing(packed))
    return;
  auto unpacked = fs::path(COEL_BINARY_DIR) / ("vocab-" + name + ".gguf");
  BOOST_REQUIRE_EQUAL(
      std::system(("gzip -dc '" + packed.string() + "' > '" + unpacked.string() + "'").c_str()), 0);
  auto t = from_gguf(unpacked);
  fs::remove(unpacked);
  auto base = shared / "fixtures/vocab" / ("ggml-vocab-" + name + ".gguf");
  auto texts = slurp(base.string() + ".inp");
  std::istringstream lines(slurp(base.string() + ".out"));
  const std::string mark = "\n__ggml_vocab_test__\n";
  size_t at = 0, cases = 0;
  for (std::string line; at < texts.size() && std::getline(lines, line); ++cases) {
    auto end = std::min(texts.find(mark, at), texts.size());
    auto text = texts.substr(at, end - at);
    at = end + mark.size();
    std::istringstream numbers(line);
    std::vector<int32_t> want{std::istream_iterator<int32_t>(numbers), {}};
    auto got = t->encode(text, false, false);
    BOOST_TEST_CONTEXT("text " << cases << ": " << text) {
      BOOST_TEST(got == want, boost::test_tools::per_element());
      BOOST_TEST(t->decode(got) == text);
    }
  }
  BOOST_TEST(cases > 40u);
  BOOST_TEST(at >= texts.size()); // as many texts as lines of ids
}

} // namespace

BOOST_AUTO_TEST_SUITE(tokenizer_vectors)

BOOST_AUTO_TEST_CASE(demo_model) {
  auto model = shared / "models/coel-tiny-moe";
  if (missing(model))
    return;
  auto cases = model::read_json(model / "golden/tokenizer.json");
  BOOST_REQUIRE(cases.ok());
  for (const auto& t :
       {make(model::read_hf_tokenizer(model)), from_gguf(model / "coel-tiny-moe-f16.gguf")})
    for (const auto& c : *cases) {
      auto text = c.at("text").get<std::string>();
      auto want = c.at("ids").get<std::vector<int32_t>>();
      BOOST_TEST_CONTEXT(text) {
        auto got = t->encode(text, true, false);
        BOOST_TEST((got == want));
        BOOST_TEST(t->decode(got, true) == text);
      }
    }
}

BOOST_AUTO_TEST_CASE(qwen2) {
  check_vectors("qwen2");
}
BOOST_AUTO_TEST_CASE(llama_spm) {
  check_vectors("llama-spm");
}

BOOST_AUTO_TEST_SUITE_END()
