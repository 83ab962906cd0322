#include "model/byte_presence.hpp"
#include "model/family.hpp"
#include "model/mirror_opening.hpp"
#include "model/source.hpp"
#include "model/weights.hpp"
#include "tests/model/mirror_support.hpp"

#include <cstring>
#include <random>

namespace {

using namespace coel;
using namespace coel::model;
using namespace coel::model::test;

/// Fetches what opening asks for until it asks no more; how often it asked.
uint32_t fetch_headers(const holder& from, mirror& to) {
  for (uint32_t rounds = 0;; ++rounds) {
    auto ranges = need(opening_ranges(to));
    if (ranges.empty())
      return rounds;
    auto before = to.present().count();
    for (const auto& range : ranges)
      from.give(to, range);
    BOOST_REQUIRE_MESSAGE(to.present().count() > before, "what is here was asked for again");
  }
}

/// The description of one GGUF file with any content, also of what is no model.
manifest described(std::string_view content) {
  std::vector<manifest_file> files{{"model.gguf", content.size(), {}}};
  for (size_t at = 0; at < content.size(); at += 4096)
    files[0].chunks.push_back(sha256_of(std::as_bytes(std::span(content.substr(at, 4096)))));
  return need(manifest::make("", 4096, files));
}

void fetch_headers(std::string_view content, mirror& to) {
  for (;;) {
    auto ranges = need(opening_ranges(to));
    if (ranges.empty())
      return;
    for (const auto& range : ranges)
      for (auto chunk : to.missing(range)) {
        auto at = to.description().place(chunk);
        need(to.store(chunk, std::as_bytes(std::span(content.substr(at.offset, at.length)))));
      }
  }
}

bool same_bytes(const compute::matrix_view& a, const compute::matrix_view& b) {
  return a.type == b.type && a.rows == b.rows && a.cols == b.cols &&
         std::memcmp(a.data, b.data, a.bytes()) == 0;
}

bool same_matrices(const source& a, const source& b, const std::vector<tensor_key>& keys) {
  for (const auto& key : keys)
    if (!same_bytes(*a.matrix(key), *b.matrix(key)))
      return false;
  return true;
}

void check_fetching_of_experts(const std::filesystem::path& models,
                               const std::filesystem::path& original) {
  holder all(original);
  auto truth = need(open_model(original));
  auto m = need(mirror::open(models, all.description));
  BOOST_TEST(!open_mirror(*m).ok());
  fetch_headers(all, *m);
  auto opened = need(open_mirror(*m));
  BOOST_TEST(m->present().count() < all.description.chunks() / 2);
  auto places = need(tensor_places::find(*opened, all.description));
  auto presence = presence_in(m, places);
  for (const auto& range : places.dense())
    all.give(*m, range);
  std::vector<tensor_key> dense, experts;
  for (const auto& key : required_tensors(truth->config()))
    (key.what >= role::shared_gate ? experts : dense).push_back(key);
  for (const auto& key : dense)
    BOOST_TEST(presence->present(key));
  BOOST_TEST(same_matrices(*truth, *opened, dense));
  BOOST_TEST(!m->complete());

  auto per_layer = experts_per_layer(*truth);
  for (uint32_t l = 0; l < truth->config().layers; ++l)
    for (uint32_t e = 0; e < per_layer; ++e) {
      expert_key key{layer_id(l), expert_id(e)};
      auto missing = presence->missing(key);
      BOOST_TEST(presence->present(key) == missing.empty());
      BOOST_TEST(require_present(*presence, key).ok() == missing.empty());
      for (auto chunk : missing)
        all.give(*m, chunk);
      BOOST_TEST(presence->present(key), "expert " << to_string(key));
    }
  BOOST_TEST(same_matrices(*truth, *opened, experts));
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(mirror_opening_test, scratch)

BOOST_AUTO_TEST_CASE(a_gguf_model_opens_by_its_header_and_fills_expert_by_expert) {
  check_fetching_of_experts(folder, fixture());
}

BOOST_AUTO_TEST_CASE(a_hugging_face_model_does_too) {
  write_hf_model(folder / "original");
  check_fetching_of_experts(folder, folder / "original");
}

BOOST_AUTO_TEST_CASE(a_header_is_discovered_chunk_by_chunk) {
  holder all(fixture());
  auto m = need(mirror::open(folder, all.description));
  auto first = need(opening_ranges(*m));
  BOOST_REQUIRE(first.size() == 1u);
  BOOST_CHECK((first[0] == byte_range{0, 0, 4096}));
  auto rounds = fetch_headers(all, *m);
  BOOST_TEST(rounds > 1u);
  BOOST_TEST(rounds == m->present().count()); // one at a time, none too many
  auto last = static_cast<chunk_id>(m->present().count() - 1);
  BOOST_TEST(m->has(last));
}

BOOST_AUTO_TEST_CASE(without_any_one_chunk_of_the_header_it_does_not_open) {
  holder all(fixture());
  uint32_t header = 0;
  {
    auto m = need(mirror::open(folder, all.description));
    fetch_headers(all, *m);
    header = m->present().count();
  }
  for (uint32_t hole = 0; hole < header; ++hole) {
    auto place = folder / std::to_string(hole);
    auto m = need(mirror::open(place, all.description));
    for (uint32_t i = 0; i < all.description.chunks(); ++i)
      if (i != hole)
        all.give(*m, chunk_id{i});
    BOOST_TEST(!open_mirror(*m).ok(), "hole at chunk " << hole);
    auto needed = need(opening_ranges(*m));
    BOOST_REQUIRE(needed.size() == 1u);
    BOOST_TEST(needed[0].offset == hole * uint64_t{4096});
    all.give(*m, needed[0]);
    BOOST_TEST(open_mirror(*m).ok());
  }
}

BOOST_AUTO_TEST_CASE(an_expert_needs_its_own_bytes_and_no_others) {
  holder all(fixture());
  auto truth = need(open_model(fixture()));
  auto places = need(tensor_places::find(*truth, all.description));
  auto bytes = content_of(fixture());
  for (const auto& key : required_tensors(truth->config())) {
    auto range = need(places.of(key));
    auto view = *truth->matrix(key);
    BOOST_REQUIRE(range.length == view.bytes());
    BOOST_TEST(std::memcmp(bytes.data() + range.offset, view.data, range.length) == 0);
  }
  auto of_expert = need(places.of_expert({layer_id{1}, expert_id{2}}));
  BOOST_REQUIRE(of_expert.size() == 3u);
  BOOST_CHECK(of_expert[2] == need(places.of({role::expert_down, layer_id{1}, expert_id{2}})));
  // A slice of the shared expert: some rows of gate and up, all of down.
  auto slices = shared_slices(*truth);
  BOOST_REQUIRE(slices == 2u);
  auto routed = truth->config().experts;
  auto slice = need(places.of_expert({layer_id{1}, expert_id(routed + 1)}));
  auto gate = need(places.of({role::shared_gate, layer_id{1}, {}}));
  BOOST_TEST(slice[0].length == gate.length / 2);
  BOOST_TEST(slice[0].offset == gate.offset + gate.length / 2);
  BOOST_CHECK(slice[2] == need(places.of({role::shared_down, layer_id{1}, {}})));
  BOOST_TEST(!places.of_expert({layer_id{1}, expert_id(routed + 2)}).ok());
  BOOST_TEST(!places.of_expert({layer_id{99}, expert_id{0}}).ok());
}

BOOST_AUTO_TEST_CASE(places_are_refused_for_the_description_of_another_model) {
  auto truth = need(open_model(fixture()));
  auto other = need(manifest::make("", 4096, {{"model.gguf", 100, {sha256{}}}}));
  BOOST_TEST(!tensor_places::find(*truth, other).ok());
}

BOOST_AUTO_TEST_CASE(what_is_no_model_is_left_to_the_opener_to_refuse) {
  auto text = std::string("GGUF\3\0\0\0", 8) + std::string(16, '\xff') + std::string(9000, 'x');
  auto m = need(mirror::open(folder, described(text)));
  need(m->store(chunk_id{0}, std::as_bytes(std::span(text)).first(4096)));
  BOOST_TEST(need(opening_ranges(*m)).empty());
  BOOST_TEST(!open_mirror(*m).ok());
  auto neither = need(manifest::make("", 4096, {{"a.bin", 1, {sha256{}}}}));
  BOOST_TEST(!opening_ranges(*need(mirror::open(folder, neither))).ok());
}

BOOST_AUTO_TEST_CASE(a_damaged_header_is_judged_as_if_the_whole_file_were_here) {
  auto whole = content_of(fixture());
  size_t refused = 0;
  for (uint32_t seed = 1; seed <= 200; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      auto damaged = whole;
      for (uint32_t i = 0; i <= seed % 3; ++i) // the first bytes tell most
        damaged[random() % (seed % 2 ? 64 : 24000)] =
            static_cast<char>(random() % 4 ? random() : 0);
      auto place = folder / std::to_string(seed);
      std::filesystem::create_directories(place);
      write(place / "model.gguf", damaged);
      auto truth = open_model(place / "model.gguf");
      auto m = need(mirror::open(place, described(damaged)));
      fetch_headers(damaged, *m);
      auto opened = open_mirror(*m);
      BOOST_TEST(opened.ok() == truth.ok());
      if (!opened && !truth)
        BOOST_CHECK(opened.err().code == truth.err().code);
      refused += !truth.ok();
      m.reset();
      std::filesystem::remove_all(place);
    }
  BOOST_TEST(refused > 50u);
  BOOST_TEST(refused < 200u);
}

BOOST_AUTO_TEST_CASE(ordinary_files_are_always_present) {
  auto presence = all_present();
  BOOST_TEST(presence->present(expert_key{layer_id{7}, expert_id{9}}));
  BOOST_TEST(presence->present(tensor_key{role::output, {}, {}}));
  BOOST_TEST(presence->missing({}).empty());
}

BOOST_AUTO_TEST_SUITE_END()
