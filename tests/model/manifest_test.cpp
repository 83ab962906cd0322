#include "model/manifest.hpp"
#include "tests/model/mirror_support.hpp"

#include <cstring>
#include <thread>

namespace {

using namespace coel;
using namespace coel::model;
using namespace coel::model::test;

manifest_file file_of(std::string name, uint64_t size, uint32_t chunk_bytes = 4096) {
  manifest_file f{std::move(name), size, {}};
  for (uint64_t at = 0; at < size; at += chunk_bytes)
    f.chunks.push_back(sha256_of(std::as_bytes(std::span(&at, 1))));
  return f;
}

manifest two_files() {
  return need(
      manifest::make("Two", 4096, {file_of("b.safetensors", 10000), file_of("a.json", 4096)}));
}

std::string refusal(std::vector<manifest_file> files, uint32_t chunk_bytes = 4096) {
  auto made = manifest::make("t", chunk_bytes, std::move(files));
  return made ? "" : made.err().message;
}

bool says(const std::string& message, std::string_view part) {
  return message.find(part) != message.npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(manifest_test)

BOOST_AUTO_TEST_CASE(sha256_is_that_of_the_standard) {
  const std::string abc = "abc";
  auto digest = sha256_of(std::as_bytes(std::span(abc)));
  BOOST_TEST(to_hex(digest) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  BOOST_CHECK(sha256_from_hex(to_hex(digest)) == digest);
  BOOST_CHECK(!sha256_from_hex(to_hex(digest).substr(1)));
  BOOST_CHECK(!sha256_from_hex(std::string(63, '0') + "g"));
}

BOOST_AUTO_TEST_CASE(chunks_are_counted_through_all_files_by_name) {
  auto m = two_files();
  BOOST_TEST(m.files()[0].name == "a.json");
  BOOST_TEST(m.chunks() == 4u);
  BOOST_TEST(m.bytes() == 14096u);
  BOOST_CHECK((m.place(chunk_id{0}) == byte_range{0, 0, 4096}));
  BOOST_CHECK((m.place(chunk_id{1}) == byte_range{1, 0, 4096}));
  BOOST_CHECK((m.place(chunk_id{3}) == byte_range{1, 8192, 1808}));
  BOOST_CHECK(m.digest(chunk_id{3}) == m.files()[1].chunks[2]);
}

BOOST_AUTO_TEST_CASE(ranges_touch_the_chunks_that_they_begin_and_end_in) {
  auto m = two_files();
  auto span = [&](byte_range r) {
    auto s = m.chunks_of(r);
    return std::pair(s.first, s.last);
  };
  BOOST_CHECK((span({1, 0, 1}) == std::pair(1u, 2u)));
  BOOST_CHECK((span({1, 4095, 2}) == std::pair(1u, 3u)));
  BOOST_CHECK((span({1, 4096, 4096}) == std::pair(2u, 3u)));
  BOOST_CHECK((span({1, 9999, 1}) == std::pair(3u, 4u)));
  BOOST_TEST(m.contains({1, 9999, 1}));
  BOOST_TEST(!m.contains({1, 9999, 2}));
  BOOST_TEST(!m.contains({1, 10001, 0}));
  BOOST_TEST(!m.contains({1, 1, UINT64_MAX}));
  BOOST_TEST(!m.contains({2, 0, 0}));
}

BOOST_AUTO_TEST_CASE(what_is_encoded_is_decoded) {
  auto m = two_files();
  auto again = need(manifest::decode(m.encode()));
  BOOST_CHECK(again.encode() == m.encode());
  BOOST_CHECK(again.hash() == m.hash());
  BOOST_TEST(again.title() == "Two");
}

BOOST_AUTO_TEST_CASE(the_hash_is_of_the_files_and_not_of_the_title) {
  auto m = two_files();
  auto before = m.hash();
  m.retitle("another\x1b[31m\xc3");
  BOOST_TEST(m.title() == "another?[31m?");
  BOOST_CHECK(need(manifest::decode(m.encode())).hash() == before);
  auto other = file_of("a.json", 4096);
  other.chunks[0][31] ^= std::byte{1};
  auto changed = need(manifest::make("Two", 4096, {file_of("b.safetensors", 10000), other}));
  BOOST_CHECK(changed.hash() != before);
}

BOOST_AUTO_TEST_CASE(names_that_leave_the_folder_or_hide_in_it_are_refused) {
  for (const char* name : {"", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", ".mirror", "a b",
                           "a\nb", "caf\xc3\xa9"})
    BOOST_TEST(says(refusal({file_of(name, 5000)}), "not a plain name"), "name '" << name << "'");
  BOOST_TEST(says(refusal({file_of(std::string("a\0b", 3), 5000)}), "not a plain name"));
  BOOST_TEST(says(refusal({file_of(std::string(201, 'a'), 5000)}), "not a plain name"));
  BOOST_TEST(refusal({file_of("Model-00001-of-00002_v1.0+x.gguf", 5000)}) == "");
}

BOOST_AUTO_TEST_CASE(sizes_and_counts_that_cannot_be_are_refused) {
  BOOST_TEST(says(refusal({}), "0 files"));
  BOOST_TEST(says(refusal({{"a", 0, {}}}), "0 bytes"));
  BOOST_TEST(says(refusal({{"a", UINT64_MAX, {}}}), "bytes"));
  BOOST_TEST(says(refusal({{"a", 8192, {sha256{}}}}), "one hash for each chunk"));
  BOOST_TEST(says(refusal({{"a", 10, {sha256{}, sha256{}}}}), "one hash for each chunk"));
  BOOST_TEST(says(refusal({file_of("a", 10), file_of("a", 10)}), "twice"));
  for (uint32_t chunk_bytes : {0u, 1u, 4095u, 12288u, 1u << 25})
    BOOST_TEST(says(refusal({file_of("a", 10)}, chunk_bytes), "chunks of"));
  std::vector<manifest_file> many;
  for (int i = 0; i < 4097; ++i)
    many.push_back(file_of(std::to_string(i), 1));
  BOOST_TEST(says(refusal(many), "4097 files"));
}

BOOST_AUTO_TEST_CASE(no_damage_to_the_encoding_passes_for_the_same_model) {
  auto whole = two_files();
  auto good = whole.encode();
  for (size_t n = 0; n < good.size(); ++n)
    BOOST_TEST(!manifest::decode(std::span(good).first(n)).ok(), "cut to " << n << " bytes");
  auto longer = good;
  longer.push_back({});
  BOOST_TEST(!manifest::decode(longer).ok());
  auto title_begins = good.size() - 3;
  for (size_t i = 0; i < title_begins - sizeof(uint16_t); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      auto bad = good;
      bad[i] ^= std::byte{1} << bit;
      auto decoded = manifest::decode(bad);
      BOOST_TEST((!decoded || decoded->hash() != whole.hash()), "bit " << bit << " of byte " << i);
    }
}

BOOST_AUTO_TEST_CASE(a_claim_of_many_chunks_needs_their_hashes_in_the_bytes) {
  std::vector<std::byte> bytes;
  auto put = [&](const void* p, size_t n) {
    auto* b = static_cast<const std::byte*>(p);
    bytes.insert(bytes.end(), b, b + n);
  };
  uint32_t chunk = 4096, files = 1;
  uint16_t length = 1;
  uint64_t size = uint64_t{1} << 62;
  put("COELMAN1", 8), put(&chunk, 4), put(&files, 4), put(&length, 2), put("a", 1), put(&size, 8);
  auto decoded = manifest::decode(bytes);
  BOOST_REQUIRE(!decoded);
  BOOST_TEST(says(decoded.err().message, "claims more than it holds"));
}

BOOST_AUTO_TEST_CASE(files_out_of_order_are_refused_so_that_a_model_has_one_hash) {
  auto a = need(manifest::make("", 4096, {file_of("a", 10)})).encode();
  auto b = need(manifest::make("", 4096, {file_of("b", 10)})).encode();
  constexpr size_t head = 8 + 4, entry = 2 + 1 + 8 + 32;
  auto joined = [&](const auto& first, const auto& second) {
    std::vector<std::byte> bytes(first.begin(), first.begin() + head);
    uint32_t two = 2;
    auto* n = reinterpret_cast<const std::byte*>(&two);
    bytes.insert(bytes.end(), n, n + 4);
    bytes.insert(bytes.end(), first.begin() + head + 4, first.begin() + head + 4 + entry);
    bytes.insert(bytes.end(), second.begin() + head + 4, second.end());
    return manifest::decode(bytes);
  };
  BOOST_TEST(joined(a, b).ok());
  BOOST_TEST(!joined(b, a).ok());
  BOOST_TEST(!joined(a, a).ok());
}

BOOST_AUTO_TEST_SUITE_END()
