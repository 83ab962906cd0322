#include "compute/quant.hpp"
#include "cpu/device.hpp"
#include "model/family.hpp"
#include "model/gguf_model.hpp"
#include "model/quantise_model.hpp"
#include "model/random_model.hpp"
#include "model/runner.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <unistd.h>

namespace {

using namespace coel;
using namespace coel::model;

struct scratch {
  std::filesystem::path folder = std::filesystem::temp_directory_path() /
                                 ("coel-quantise-model-" + std::to_string(::getpid()));
  scratch() { std::filesystem::create_directories(folder); }
  ~scratch() { std::filesystem::remove_all(folder); }

  source_ptr random(const char* shape, dtype type) {
    auto path = cached_random_model(folder, {*shape_by_name(shape), type, 0.8f, 1}, 2);
    BOOST_REQUIRE(path.ok());
    return open(*path);
  }
  static source_ptr open(const std::filesystem::path& path) {
    auto opened = open_gguf(path);
    BOOST_REQUIRE_MESSAGE(opened.ok(), (opened.ok() ? "" : opened.err().message));
    return *opened;
  }
  source_ptr quantised(const source& from, dtype type, uint32_t threads = 2) {
    auto plan = plan_quantisation(from, type);
    BOOST_REQUIRE(plan.ok());
    auto out = folder / ("out-" + std::string(to_string(type)) + ".gguf");
    auto ok = quantise_model(from, *plan, out, threads);
    BOOST_REQUIRE_MESSAGE(ok.ok(), (ok.ok() ? "" : ok.err().message));
    return open(out);
  }
};

double relative_error(const source& a, const source& b, const tensor_key& key) {
  auto x = compute::to_f32(*a.matrix(key)), y = compute::to_f32(*b.matrix(key));
  BOOST_REQUIRE(x.size() == y.size());
  double error = 0, power = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
    power += double{x[i]} * x[i];
  }
  return std::sqrt(error / power);
}

std::vector<float> logits_of(const source_ptr& from) {
  auto device = cpu::make_device({1, "reference", 0, false});
  BOOST_REQUIRE(device.ok());
  auto run = runner::load(from, *device, {64, 16, 16});
  BOOST_REQUIRE_MESSAGE(run.ok(), (run.ok() ? "" : run.err().message));
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 24; ++i)
    prompt.push_back(i * 37 % 900);
  std::vector<float> all;
  auto keep = [&](uint32_t, std::span<const float> row) {
    all.insert(all.end(), row.begin(), row.end());
  };
  BOOST_REQUIRE((*run)->feed_all(prompt, keep).ok());
  return all;
}

double rms_difference(const std::vector<float>& a, const std::vector<float>& b) {
  BOOST_REQUIRE(a.size() == b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

/// The random file's Hugging Face twin in memory: q and k in that format's rotary order.
class half_rotary : public source {
 public:
  explicit half_rotary(source_ptr from) : from_(std::move(from)), config_(from_->config()) {
    config_.rope.style = compute::rope_style::half;
  }
  const model_config& config() const override { return config_; }
  const tokenizer_data& vocabulary() const override { return from_->vocabulary(); }
  const source_info& info() const override { return from_->info(); }
  bool has(const tensor_key& key) const override { return from_->has(key); }
  result<compute::matrix_view> matrix(const tensor_key& key) const override {
    auto m = from_->matrix(key);
    if (!m || (key.what != role::attn_q && key.what != role::attn_k))
      return m;
    // row 2 i + j of a head there is row j dims / 2 + i here
    auto bytes = std::make_shared<std::vector<std::byte>>(m->bytes());
    uint32_t half = config_.head_dim / 2;
    for (uint64_t r = 0; r < m->rows; ++r) {
      uint64_t head = r / config_.head_dim, at = r % config_.head_dim;
      uint64_t to = head * config_.head_dim + at % 2 * half + at / 2;
      std::memcpy(bytes->data() + to * m->stride_bytes, m->row(r), m->stride_bytes);
    }
    auto moved = *m;
    moved.data = bytes->data();
    moved.owner = bytes;
    return moved;
  }

 private:
  source_ptr from_;
  model_config config_;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(quantise_model_test, scratch)

BOOST_AUTO_TEST_CASE(every_family_keeps_its_configuration_vocabulary_and_weights) {
  for (auto shape : {"tiny-qwen2moe", "tiny-qwen3moe", "tiny-olmoe", "tiny-mixtral"}) {
    auto from = random(shape, dtype::f16);
    auto to = quantised(*from, dtype::q8_0);
    const auto &a = from->config(), &b = to->config();
    BOOST_TEST(a.name == b.name);
    BOOST_TEST(required_tensors(a).size() == required_tensors(b).size());
    BOOST_TEST(a.head_dim == b.head_dim);
    BOOST_TEST(a.context == b.context);
    BOOST_TEST(a.rms_eps == b.rms_eps);
    BOOST_TEST(a.rope.base == b.rope.base);
    BOOST_TEST(a.rope.scale == b.rope.scale);
    BOOST_TEST(a.top_k == b.top_k);
    const auto &v = from->vocabulary(), &w = to->vocabulary();
    BOOST_TEST((v.tokens == w.tokens));
    BOOST_TEST((v.types == w.types));
    BOOST_TEST((v.merges == w.merges));
    BOOST_TEST((v.eos == w.eos));
    BOOST_TEST(v.pre == w.pre);
    for (const auto& key : required_tensors(a)) {
      auto error = relative_error(*from, *to, key);
      bool exact = to->matrix(key)->type == dtype::f32;
      BOOST_REQUIRE_MESSAGE(error <= (exact ? 0 : 0.006),
                            gguf_tensor_name(key.what, index(key.layer)) << ": " << error);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_error_in_logits_falls_with_the_bits) {
  auto from = random("tiny-qwen2moe", dtype::f16);
  auto exact = logits_of(from);
  double before = 0;
  for (auto type : {dtype::f16, dtype::q8_0, dtype::q6_k, dtype::q5_k, dtype::q4_k}) {
    double error = rms_difference(exact, logits_of(quantised(*from, type)));
    BOOST_TEST(error >= before, to_string(type) << ": " << error << " after " << before);
    BOOST_TEST(error < 1.5, to_string(type) << ": " << error);
    if (type == dtype::f16)
      BOOST_TEST(error == 0);
    before = error;
  }
}

BOOST_AUTO_TEST_CASE(rotary_order_is_changed_to_that_of_the_format) {
  auto from = random("tiny-mixtral", dtype::f16);
  half_rotary twin(from);
  auto back = quantised(twin, dtype::f16);
  for (auto what : {role::attn_q, role::attn_k, role::attn_v})
    BOOST_TEST(relative_error(*from, *back, {what, layer_id{2}, {}}) == 0);
  BOOST_TEST((back->config().rope.style == compute::rope_style::interleaved));
  tensor_key q{role::attn_q, layer_id{2}, {}};
  BOOST_TEST(relative_error(twin, *back, q) > 1); // the twin really was in another order
}

BOOST_AUTO_TEST_CASE(the_bytes_do_not_depend_on_the_threads) {
  auto from = random("tiny-olmoe", dtype::f16);
  auto plan = plan_quantisation(*from, dtype::q4_k);
  BOOST_REQUIRE(plan.ok());
  std::string bytes[2];
  for (uint32_t threads : {1u, 3u}) {
    BOOST_REQUIRE(quantise_model(*from, *plan, folder / "out", threads).ok());
    std::ifstream in(folder / "out", std::ios::binary);
    bytes[threads / 2] = {std::istreambuf_iterator<char>(in), {}};
  }
  BOOST_TEST(bytes[0].size() > plan->bytes());
  BOOST_TEST((bytes[0] == bytes[1]));
}

BOOST_AUTO_TEST_CASE(a_weight_that_is_not_a_number_is_named_and_nothing_is_left) {
  auto path = cached_random_model(folder, {*shape_by_name("tiny-olmoe"), dtype::f16, 0.f, 3}, 2);
  BOOST_REQUIRE(path.ok());
  {
    auto from = open(*path);
    auto v = *from->matrix({role::attn_v, layer_id{1}, {}});
    auto at = v.row(7) - std::static_pointer_cast<const mapped_file>(v.owner)->bytes().data();
    std::fstream file(*path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(at + 10);
    file.write("\x00\x7e", 2);
  }
  auto from = open(*path);
  auto plan = plan_quantisation(*from, dtype::q8_0);
  BOOST_REQUIRE(plan.ok());
  auto ok = quantise_model(*from, *plan, folder / "out", 2);
  BOOST_REQUIRE(!ok.ok());
  BOOST_TEST((ok.err().code == ec::bad_file));
  BOOST_TEST(ok.err().message.find("blk.1.attn_v.weight") != std::string::npos);
  BOOST_TEST(ok.err().message.find("row 7") != std::string::npos);
  BOOST_TEST(!std::filesystem::exists(folder / "out"));
  BOOST_TEST(!std::filesystem::exists(folder / "out.part"));
}

BOOST_AUTO_TEST_CASE(random_models_route_as_unevenly_as_their_skew_says) {
  auto busiest_share = [&](float skew) {
    auto path =
        cached_random_model(folder, {*shape_by_name("tiny-qwen2moe"), dtype::f16, skew, 1}, 2);
    BOOST_REQUIRE(path.ok());
    auto device = cpu::make_device({1, "", 0, false});
    BOOST_REQUIRE(device.ok());
    auto run = runner::load(open(*path), *device, {512, 128, 1});
    BOOST_REQUIRE(run.ok());
    std::vector<std::vector<uint64_t>> counts(4, std::vector<uint64_t>(16));
    (*run)->observe_routing([&](uint32_t, layer_id layer, std::span<const int32_t> ids) {
      for (auto id : ids)
        ++counts[index(layer)][static_cast<size_t>(id)];
    });
    std::vector<int32_t> text;
    for (int i = 0; i < 512; ++i)
      text.push_back(i * 389 % 1000);
    auto fed = (*run)->feed(text);
    BOOST_REQUIRE(fed.ok());
    for (float x : *fed)
      BOOST_REQUIRE(std::fabs(x) < 30);
    double share = 0;
    for (auto& c : counts) {
      std::sort(c.rbegin(), c.rend());
      share += static_cast<double>(c[0] + c[1] + c[2] + c[3]) / (512. * 4 * 4);
    }
    return share;
  };
  double even = busiest_share(0), skewed = busiest_share(0.8f), steep = busiest_share(1.5f);
  BOOST_TEST_MESSAGE("share of the four busiest of 16: " << even << ", " << skewed << ", "
                                                         << steep);
  BOOST_TEST(even < 0.45);
  BOOST_TEST(skewed > even + 0.05);
  BOOST_TEST(steep > skewed + 0.05);
}

BOOST_AUTO_TEST_SUITE_END()
