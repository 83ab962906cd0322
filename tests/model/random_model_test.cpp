#include "compute/quant.hpp"
#include "model/family.hpp"
#include "model/gguf_model.hpp"
#include "model/random_model.hpp"
#include "model/random_model_rows.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <fstream>
#include <set>
#include <unistd.h>

namespace {

using namespace coel;
using namespace coel::model;

struct scratch {
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("coel-random-model-" + std::to_string(::getpid()));
  ~scratch() { std::filesystem::remove_all(folder); }
};

constexpr dtype all_types[] = {dtype::f32,  dtype::f16,  dtype::bf16, dtype::q8_0,
                               dtype::q4_0, dtype::q4_k, dtype::q5_k, dtype::q6_k};

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

random_model_spec small(const char* shape, dtype type) {
  return {*shape_by_name(shape), type, 0.8f, 1};
}

struct moments {
  double mean = 0, deviation = 0, largest = 0;
};

moments moments_of(const std::vector<float>& x) {
  moments m;
  for (float v : x) {
    m.mean += v / static_cast<double>(x.size());
    m.largest = std::max<double>(m.largest, std::fabs(v));
  }
  for (float v : x)
    m.deviation += (v - m.mean) * (v - m.mean) / static_cast<double>(x.size());
  m.deviation = std::sqrt(m.deviation);
  return m;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(random_model_test, scratch)

BOOST_AUTO_TEST_CASE(rows_of_every_type_have_the_deviation_asked_for) {
  for (auto type : all_types)
    for (float sigma : {0.01f, 0.5f}) {
      random_bits random(5);
      std::vector<std::byte> row(row_bytes(type, 1 << 16));
      draw_row(type, random, sigma, row.data(), 1 << 16);
      std::vector<float> x(1 << 16);
      compute::dequantise_row(type, row.data(), x.data(), x.size());
      auto m = moments_of(x);
      BOOST_TEST(std::fabs(m.mean) < 0.03 * sigma, to_string(type) << " mean " << m.mean);
      BOOST_TEST(std::fabs(m.deviation / sigma - 1) < 0.06, to_string(type)
                                                                << " deviation " << m.deviation);
      BOOST_TEST(m.largest < 6 * sigma);
      BOOST_TEST(m.largest > 2 * sigma);
    }
}

BOOST_AUTO_TEST_CASE(public_shapes_have_their_published_sizes) {
  struct known {
    const char* name;
    double parameters;
  }; // as the models' cards say
  for (auto [name, parameters] : {known{"qwen1.5-moe-a2.7b", 14.3e9},
                                  {"qwen3-30b-a3b", 30.5e9},
                                  {"olmoe-1b-7b", 6.92e9},
                                  {"mixtral-8x7b", 46.7e9}}) {
    auto c = shape_by_name(name);
    BOOST_REQUIRE(c);
    BOOST_TEST(check(*c).ok());
    double sum = 0;
    for (const auto& t : plan_tensors(*c, dtype::f16))
      sum += static_cast<double>(t.rows) * static_cast<double>(t.cols) * t.stack;
    BOOST_TEST(std::fabs(sum / parameters - 1) < 0.005, name << " has " << sum << " parameters");
  }
  BOOST_TEST(shape_by_name("Mixtral-8x7B").has_value());
  BOOST_TEST(!shape_by_name("mixtral").has_value());
  BOOST_TEST(known_shapes().find("olmoe-1b-7b") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(every_family_and_type_opens_as_the_shape_asked_for) {
  for (auto name : {"tiny-qwen2moe", "tiny-qwen3moe", "tiny-olmoe", "tiny-mixtral"})
    for (auto type : {dtype::f16, dtype::q4_0, dtype::q4_k}) {
      auto spec = small(name, type);
      auto path = cached_random_model(folder, spec, 2);
      BOOST_REQUIRE_MESSAGE(path.ok(), (path.ok() ? "" : path.err().message));
      auto opened = open_gguf(*path);
      BOOST_REQUIRE_MESSAGE(opened.ok(), (opened.ok() ? "" : opened.err().message));
      const auto& c = (*opened)->config();
      BOOST_TEST(c.family == spec.shape.family);
      BOOST_TEST(c.layers == spec.shape.layers);
      BOOST_TEST(c.head_dim == spec.shape.head_dim);
      BOOST_TEST(c.rms_eps == spec.shape.rms_eps);
      BOOST_TEST(c.rope.base == spec.shape.rope.base);
      BOOST_TEST((c.rope.style == spec.shape.rope.style));
      BOOST_TEST(c.shared_ff == spec.shape.shared_ff);
      BOOST_TEST(c.renormalise == spec.shape.renormalise);
      BOOST_TEST(!c.tied_output);
      BOOST_TEST((*opened)->vocabulary().tokens.size() == spec.shape.vocab);
      auto router = (*opened)->matrix({role::router, layer_id{1}, {}});
      BOOST_REQUIRE(router.ok());
      BOOST_TEST((router->type == dtype::f32));
      auto down = (*opened)->matrix({role::expert_down, layer_id{1}, expert_id{3}});
      BOOST_REQUIRE(down.ok());
      BOOST_TEST((down->type == type));
    }
}

BOOST_AUTO_TEST_CASE(the_same_spec_gives_the_same_bytes_on_any_threads) {
  std::filesystem::create_directories(folder);
  auto spec = small("tiny-qwen2moe", dtype::q4_0);
  BOOST_REQUIRE(write_random_model(folder / "one", spec, 1).ok());
  BOOST_REQUIRE(write_random_model(folder / "three", spec, 3).ok());
  auto one = bytes_of(folder / "one");
  BOOST_TEST(one.size() > 1000000u);
  BOOST_TEST((one == bytes_of(folder / "three")));
  spec.seed = 2;
  BOOST_REQUIRE(write_random_model(folder / "other", spec, 2).ok());
  BOOST_TEST((one != bytes_of(folder / "other")));
}

BOOST_AUTO_TEST_CASE(the_cache_reuses_whole_files_only) {
  auto spec = small("tiny-olmoe", dtype::q8_0);
  bool made = false;
  uint64_t last = 0, total = 0;
  auto progress = [&](uint64_t done, uint64_t all) {
    BOOST_TEST(done > last);
    last = done;
    total = all;
  };
  auto first = cached_random_model(folder, spec, 1, progress, &made);
  BOOST_REQUIRE(first.ok());
  BOOST_TEST(made);
  BOOST_TEST(last == total);
  auto time = std::filesystem::last_write_time(*first);
  BOOST_REQUIRE(cached_random_model(folder, spec, 1, {}, &made).ok());
  BOOST_TEST(!made);
  BOOST_TEST((std::filesystem::last_write_time(*first) == time));

  std::filesystem::resize_file(*first, std::filesystem::file_size(*first) / 2);
  BOOST_REQUIRE(cached_random_model(folder, spec, 1, {}, &made).ok());
  BOOST_TEST(made);
  BOOST_TEST(open_gguf(*first).ok());
}

BOOST_AUTO_TEST_CASE(odd_skews_are_refused) {
  auto spec = small("tiny-olmoe", dtype::q8_0);
  for (float skew : {-1.f, 5.f, std::nanf("")}) {
    spec.skew = skew;
    auto made = cached_random_model(folder, spec, 1);
    BOOST_REQUIRE(!made.ok());
    BOOST_TEST((made.err().code == ec::bad_argument));
  }
}

BOOST_AUTO_TEST_CASE(the_synthetic_vocabulary_has_no_token_twice) {
  auto d = synthetic_vocabulary(20000);
  BOOST_TEST(d.tokens.size() == 20000u);
  BOOST_TEST(d.types.size() == 20000u);
  std::set<std::string> distinct(d.tokens.begin(), d.tokens.end());
  BOOST_TEST(distinct.size() == 20000u);
  BOOST_TEST(d.tokens[*d.eos] == "<|im_end|>");
  BOOST_TEST(d.tokens[size_t{'A'}] == "A");
  BOOST_TEST(d.tokens[size_t{' '}] == "\u0120");
}

BOOST_AUTO_TEST_SUITE_END()
