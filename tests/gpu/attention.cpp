// Attention against the reference: pages in any order, grouped heads, both rope
// styles, several sessions in one batch.
#include "devices.hpp"

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
  sessions(compute::device_ptr on, setup s) : s_(s), dev_(std::move(on)) {
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

void compare_steps(const compute::device_ptr& dev, const setup& s) {
  BOOST_TEST_CONTEXT(dev->status().name << " heads " << s.heads << '/' << s.kv_heads << " dim "
                                        << s.head_dim << " page " << s.page_tokens) {
    sessions truth(reference(), s), tested(dev, s);
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

BOOST_AUTO_TEST_SUITE(gpu_attention)

BOOST_AUTO_TEST_CASE(all_shapes_agree_with_the_reference) {
  for (auto& d : devices()) {
    compare_steps(d.device, {});
    compare_steps(d.device, {8, 1, 64, 32, {compute::rope_style::interleaved, 64, 1e6f, 1.f}});
    compare_steps(d.device, {3, 3, 128, 16, {compute::rope_style::half, 128, 10000.f, 0.25f}});
    compare_steps(d.device, {6, 2, 48, 64, {compute::rope_style::half, 16, 10000.f, 1.f}});
    compare_steps(d.device, {40, 2, 16, 48, {compute::rope_style::half, 16, 10000.f, 1.f}});
    compare_steps(d.device, {4, 2, 20, 32, {compute::rope_style::interleaved, 20, 10000.f, 1.f}});
    compare_steps(d.device, {2, 1, 256, 32, {compute::rope_style::half, 0, 10000.f, 1.f}});
  }
}

/// Rows of one session, in pieces of the sizes that `count_at` gives.
template <class CountAt>
std::vector<float> in_pieces(const compute::device_ptr& dev, const setup& s, uint32_t tokens,
                             const std::vector<uint32_t>& pages, CountAt count_at) {
  sessions pieces(dev, s);
  std::vector<float> joined;
  for (uint32_t first = 0, count; first < tokens; first += count) {
    count = std::min(count_at(first), tokens - first);
    auto part = [&](uint32_t cols, uint32_t salt) {
      auto v = random_values(size_t{tokens} * cols, 7 + salt);
      return std::vector<float>(v.begin() + first * cols, v.begin() + (first + count) * cols);
    };
    auto out = pieces.attend({{0, count, first, pages}}, count, part);
    joined.insert(joined.end(), out.begin(), out.end());
  }
  return joined;
}

BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_its_batch_or_on_how_histories_are_cut) {
  setup s{4, 2, 32, 32, {compute::rope_style::half, 32, 10000.f, 1.f}};
  uint32_t tokens = 300;
  std::vector<uint32_t> pages{9, 3, 21, 0, 33, 34, 35, 1, 2, 4};
  auto whole = [&](uint32_t) { return tokens; };
  auto mixed = [](uint32_t at) { return at < 40 ? 1u : at < 90 ? 5u : at < 280 ? 67u : 1u; };
  // a card of one multiprocessor never cuts a history, one of many always does
  auto want = in_pieces(emulated(0, 1, 1), s, tokens, pages, whole);
  check_same(in_pieces(emulated(0, 1, 1), s, tokens, pages, mixed), want);
  check_same(in_pieces(emulated(0, 2, 1000), s, tokens, pages, whole), want);
  check_same(in_pieces(emulated(0, 3, 1000), s, tokens, pages, mixed), want);
  if (auto card = card_or_skip()) {
    check_same(in_pieces(card, s, tokens, pages, whole), want);
    check_same(in_pieces(card, s, tokens, pages, mixed), want);
  }
}

BOOST_AUTO_TEST_CASE(what_lies_in_unused_slots_of_a_page_does_not_matter) {
  setup s;
  for (auto& d : devices()) {
    auto values = [&](uint32_t cols, uint32_t salt) { return random_values(40 * cols, 3 + salt); };
    sessions clean(d.device, s), dirty(d.device, s);
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

BOOST_AUTO_TEST_CASE(a_later_row_cannot_spoil_an_earlier_one) {
  setup s{4, 4, 32, 32, {compute::rope_style::half, 32, 10000.f, 1.f}};
  for (auto& d : devices()) {
    auto values = [&](uint32_t cols, uint32_t salt) { return random_values(6 * cols, 3 + salt); };
    auto spoilt = [&](uint32_t cols, uint32_t salt) {
      auto x = values(cols, salt);
      std::fill(x.begin() + 4 * cols, x.end(), std::numeric_limits<float>::infinity());
      return x;
    };
    auto want = sessions(d.device, s).attend({{0, 6, 0, {5}}}, 6, values);
    auto got = sessions(d.device, s).attend({{0, 6, 0, {5}}}, 6, spoilt);
    got.resize(4 * 128);
    want.resize(4 * 128);
    check_same(got, want);
  }
}

BOOST_AUTO_TEST_SUITE_END()
