// Attention of every kernel set against the reference: pages in any order, grouped heads, both rope
// styles, several sessions in one batch.
#include "support.hpp"

#include <algorithm>
#include <limits>

using namespace coel;
using namespace coel::test;

namespace {

struct setup {
  uint32_t heads = 4;
  uint32_t kv_heads = 2;
  uint32_t head_dim = 32;
  uint32_t page_tokens = 32;
  compute::rope_params rope{compute::rope_style::half, 32, 10000.f, 1.f};
};

/// Sessions of one device over one cache of two layers, whose pages are handed out shuffled.
class sessions {
 public:
  sessions(const std::string& kernels, setup s, uint32_t threads = 2)
      : s_(s), dev_(make(kernels, threads)) {
    compute::kv_shape shape{2, s.kv_heads, s.head_dim, s.page_tokens, 40};
    auto made = dev_->make_kv_cache(shape);
    BOOST_REQUIRE(made.ok());
    cache_ = *made;
    for (uint32_t i = 0; i < shape.pages; ++i)
      free_.push_back(i);
    std::shuffle(free_.begin(), free_.end(), std::mt19937(1));
  }

  uint32_t open() {
    pages_.emplace_back();
    lengths_.push_back(0);
    return static_cast<uint32_t>(pages_.size() - 1);
  }

  /// Appends `counts[i]` tokens to session `ids[i]`; q, k, v of the rows come from `random`.
  std::vector<float> step(const std::vector<uint32_t>& ids, const std::vector<uint32_t>& counts,
                          uint32_t seed) {
    std::vector<compute::segment> segments;
    uint32_t rows = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      auto& length = lengths_[ids[i]];
      while (pages_[ids[i]].size() * s_.page_tokens < length + counts[i]) {
        pages_[ids[i]].push_back(free_.back());
        free_.pop_back();
      }
      segments.push_back({rows, counts[i], length, pages_[ids[i]]});
      length += counts[i];
      rows += counts[i];
    }
    return attend(segments, rows, [&](uint32_t cols, uint32_t salt) {
      return random_values(size_t{rows} * cols, seed + salt);
    });
  }

  template <class Values>
  std::vector<float> attend(const std::vector<compute::segment>& segments, uint32_t rows,
                            Values values) {
    uint32_t q_cols = s_.heads * s_.head_dim, kv_cols = s_.kv_heads * s_.head_dim;
    tensor q(*dev_, rows, q_cols, values(q_cols, 0)), k(*dev_, rows, kv_cols, values(kv_cols, 1)),
        v(*dev_, rows, kv_cols, values(kv_cols, 2)), out(*dev_, rows, q_cols);
    run_all(*dev_, {compute::attend{q.view, k.view, v.view, out.view, cache_.get(), 1, s_.heads,
                                    s_.rope, segments}});
    return out.values();
  }

  compute::device& device() { return *dev_; }
  compute::kv_cache* cache() { return cache_.get(); }

 private:
  setup s_;
  compute::device_ptr dev_;
  compute::kv_cache_ptr cache_;
  std::vector<uint32_t> free_;
  std::vector<std::vector<uint32_t>> pages_;
  std::vector<uint32_t> lengths_;
};

/// Values are of order 1 and outputs are averages of them; scores and weights are float sums of at
/// most 200 terms of order 1 with an error of 200 * 2^-24 each, amplified by exp: a few 1e-5.
constexpr double tolerance = 5e-5;

void compare_steps(const std::string& kernels, const setup& s) {
  BOOST_TEST_CONTEXT(kernels << " heads " << s.heads << '/' << s.kv_heads << " dim " << s.head_dim
                             << " page " << s.page_tokens) {
    sessions truth("reference", s), tested(kernels, s);
    uint32_t seed = 1;
    for (auto* x : {&truth, &tested}) {
      x->open();
      x->open();
      x->open();
    }
    auto both = [&](std::vector<uint32_t> ids, std::vector<uint32_t> counts) {
      auto want = truth.step(ids, counts, ++seed);
      check_close(tested.step(ids, counts, seed), want,
                  std::vector<double>(want.size(), tolerance));
    };
    both({0}, {1});
    both({0, 1}, {70, 33});
    both({0, 1, 2}, {1, 1, 17});
    both({2, 0}, {5, 90});
    both({1, 2, 0}, {1, 1, 1});
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(cpu_attention)

BOOST_AUTO_TEST_CASE(every_kernel_agrees_with_the_reference) {
  for (const auto& kernels : vector_sets()) {
    compare_steps(kernels, {});
    compare_steps(kernels, {8, 1, 64, 32, {compute::rope_style::interleaved, 64, 1e6f, 1.f}});
    compare_steps(kernels, {3, 3, 128, 16, {compute::rope_style::half, 128, 10000.f, 0.25f}});
    compare_steps(kernels, {6, 2, 48, 64, {compute::rope_style::half, 16, 10000.f, 1.f}});
    compare_steps(kernels, {40, 2, 16, 48, {compute::rope_style::half, 16, 10000.f, 1.f}});
    compare_steps(kernels, {4, 2, 20, 32, {compute::rope_style::interleaved, 20, 10000.f, 1.f}});
    compare_steps(kernels, {2, 1, 32, 32, {compute::rope_style::half, 0, 10000.f, 1.f}});
  }
}

BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_its_batch_or_on_the_threads) {
  setup s{8, 2, 64, 32, {compute::rope_style::half, 64, 10000.f, 1.f}};
  uint32_t tokens = 150;
  for (const auto& kernels : cpu::usable_kernels()) {
    auto values = [&](uint32_t cols, uint32_t salt) {
      return random_values(tokens * cols, 7 + salt);
    };
    std::vector<uint32_t> pages{9, 3, 21, 0, 33};
    auto whole = sessions(kernels, s, 1).attend({{0, tokens, 0, pages}}, tokens, values);
    check_same(sessions(kernels, s, 3).attend({{0, tokens, 0, pages}}, tokens, values), whole);
    sessions pieces(kernels, s, 2);
    std::vector<float> joined;
    for (uint32_t first = 0, count; first < tokens; first += count) {
      count = std::min(first < 40 ? 1u : first < 90 ? 5u : 37u, tokens - first);
      auto part = [&](uint32_t cols, uint32_t salt) {
        auto v = values(cols, salt);
        return std::vector<float>(v.begin() + first * cols, v.begin() + (first + count) * cols);
      };
      auto out = pieces.attend({{0, count, first, pages}}, count, part);
      joined.insert(joined.end(), out.begin(), out.end());
    }
    check_same(joined, whole);
  }
}

BOOST_AUTO_TEST_CASE(what_lies_in_unused_slots_of_a_page_does_not_matter) {
  setup s;
  for (const auto& kernels : cpu::usable_kernels()) {
    auto values = [&](uint32_t cols, uint32_t salt) { return random_values(40 * cols, 3 + salt); };
    sessions clean(kernels, s), dirty(kernels, s);
    auto poison = [&](uint32_t cols, uint32_t) {
      return std::vector<float>(64 * cols, std::numeric_limits<float>::quiet_NaN());
    };
    dirty.attend({{0, 64, 0, {5, 6}}}, 64, poison);
    auto got = dirty.attend({{0, 40, 0, {5, 6}}}, 40, values);
    check_same(got, clean.attend({{0, 40, 0, {5, 6}}}, 40, values));
    for (float x : got)
      BOOST_REQUIRE(std::isfinite(x));
  }
}

BOOST_AUTO_TEST_CASE(one_token_attends_to_itself) {
  setup s;
  for (const auto& kernels : cpu::usable_kernels()) {
    std::vector<float> v;
    auto values = [&](uint32_t cols, uint32_t salt) {
      auto x = random_values(cols, 11 + salt);
      return salt == 2 ? v = x : x;
    };
    auto out = sessions(kernels, s).attend({{0, 1, 0, {7}}}, 1, values);
    for (uint32_t h = 0; h < s.heads; ++h)
      for (uint32_t d = 0; d < s.head_dim; ++d)
        BOOST_TEST(out[h * s.head_dim + d] ==
                   compute::f16_to_f32(compute::f32_to_f16(v[h / 2 * s.head_dim + d])));
  }
}

BOOST_AUTO_TEST_SUITE_END()
