#include "policy/assignment.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace coel::policy {

namespace {

/// The same on every machine: FNV-1a, then the finaliser of splitmix64.
uint64_t hash_of(const std::string& key, uint64_t item) {
  uint64_t h = 14695981039346656037ull;
  for (char c : key)
    h = (h ^ static_cast<uint8_t>(c)) * 1099511628211ull;
  h ^= item + 0x9e3779b97f4a7c15ull + (h << 6);
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ull;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebull;
  return h ^ (h >> 31);
}

/// Weighted score: the chance of being first is in proportion to the weight.
double score(const holder& h, uint64_t item, double weight) {
  double unit = (static_cast<double>(hash_of(h.key, item) >> 11) + 0.5) * 0x1p-53;
  return -weight / std::log(unit);
}

class planner {
 public:
  explicit planner(const assignment_problem& p) : p_(p), items_(size_t{p.layers} * p.experts) {
    order_.resize(p.holders.size());
    std::iota(order_.begin(), order_.end(), size_t{0});
    std::sort(order_.begin(), order_.end(),
              [&](size_t a, size_t b) { return p.holders[a].key < p.holders[b].key; });
    for (const auto& h : p.holders)
      left_.push_back(std::min<uint64_t>(h.room, items_));
    out_.plan.assign(p.holders.size(), bitmap(items_));
    copies_.assign(items_, 0);
  }

  assignment solve() {
    auto by_popularity = ranked();
    if (!p_.base.empty())
      return keep_base(by_popularity);
    auto copies = copies_of(by_popularity);
    // What needs most distinct nodes is placed while most nodes have room.
    auto order = by_popularity;
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return copies[a] > copies[b]; });
    for (size_t item : order)
      place(item, copies[item]);
    return finish(by_popularity);
  }

 private:
  assignment finish(const std::vector<size_t>& by_popularity) {
    while (fill(by_popularity)) {
    } // room that was left because its node held the item already
    std::sort(out_.uncovered.begin(), out_.uncovered.end());
    return std::move(out_);
  }

  assignment keep_base(const std::vector<size_t>& by_popularity) {
    for (size_t h = 0; h < p_.base.size(); ++h)
      for (size_t i = 0; i < items_; ++i)
        copies_[i] += p_.base[h].test(i);
    for (size_t h : order_)
      take_base(h, by_popularity);
    for (size_t item : by_popularity)
      if (!copies_[item] && !make_place(item))
        place(item, 1); // says that it is uncovered
    return finish(by_popularity);
  }

  /// Of what does not fit, first goes what others have too, the least popular of it first.
  void take_base(size_t h, const std::vector<size_t>& by_popularity) {
    const auto& base = p_.base[h];
    size_t over = base.count() - std::min<size_t>(base.count(), left_[h]);
    bitmap dropped(items_);
    for (bool sole : {false, true})
      for (auto at = by_popularity.rbegin(); at != by_popularity.rend() && over; ++at)
        if (base.test(*at) && !dropped.test(*at) && (sole || copies_[*at] > 1)) {
          dropped.set(*at);
          --copies_[*at];
          --over;
        }
    for (size_t i = 0; i < items_; ++i)
      if (base.test(i) && !dropped.test(i)) {
        --copies_[i]; // give counts it again
        give(h, i);
      }
  }

  /// In free room, else instead of the least popular replica that there is, or of what is used far
  /// less.
  bool make_place(size_t item) {
    auto h = best_for(item);
    if (h < p_.holders.size()) {
      give(h, item);
      return true;
    }
    size_t worst = items_;
    for (size_t i = 0; i < items_; ++i)
      if (copies_[i] > 1 && (worst == items_ || popularity(i) < popularity(worst)))
        worst = i;
    if (worst == items_)
      worst = far_less_used(item);
    if (worst == items_)
      return false;
    h = *std::find_if(order_.begin(), order_.end(),
                      [&](size_t x) { return out_.plan[x].test(worst); });
    out_.plan[h].set(worst, false);
    --copies_[worst];
    ++left_[h];
    give(h, item);
    return true;
  }

  /// Where there is no room for all: who has gone may have held what every token uses. What is used
  /// a little less stays, or nodes would exchange experts all the time.
  size_t far_less_used(size_t item) const {
    size_t worst = items_;
    for (size_t i = 0; i < items_; ++i)
      if (copies_[i] && 2 * popularity(i) < popularity(item) &&
          (worst == items_ || popularity(i) < popularity(worst)))
        worst = i;
    return worst;
  }

  double popularity(size_t item) const {
    if (item % p_.experts + p_.slices >= p_.experts)
      return std::numeric_limits<double>::infinity();
    return p_.popularity.empty() ? 0 : p_.popularity[item];
  }

  std::vector<size_t> ranked() const {
    std::vector<size_t> all(items_);
    std::iota(all.begin(), all.end(), size_t{0});
    std::stable_sort(all.begin(), all.end(),
                     [&](size_t a, size_t b) { return popularity(a) > popularity(b); });
    return all;
  }

  /// The best node with room that does not hold it yet; none: holders.size().
  size_t best_for(size_t item) const {
    size_t best = p_.holders.size();
    double top = -1;
    for (size_t h : order_) {
      if (!left_[h] || out_.plan[h].test(item))
        continue;
      double s = score(p_.holders[h], item, static_cast<double>(p_.holders[h].room));
      if (s > top) {
        top = s;
        best = h;
      }
    }
    return best;
  }

  void give(size_t h, size_t item) {
    out_.plan[h].set(item);
    ++copies_[item];
    --left_[h];
  }

  /// One each, then one more each in order of popularity for as long as there is room.
  std::vector<size_t> copies_of(const std::vector<size_t>& items) const {
    std::vector<size_t> copies(items_, 1);
    uint64_t room = std::accumulate(left_.begin(), left_.end(), uint64_t{0});
    uint64_t spare = room > items_ ? room - items_ : 0;
    for (size_t round = 1; round < p_.holders.size() && spare; ++round)
      for (size_t i = 0; i < items.size() && spare; ++i, --spare)
        ++copies[items[i]];
    return copies;
  }

  void place(size_t item, size_t copies) {
    for (size_t c = 0; c < copies; ++c) {
      auto h = best_for(item);
      if (h == p_.holders.size()) {
        if (c == 0)
          out_.uncovered.push_back({static_cast<layer_id>(item / p_.experts),
                                    static_cast<expert_id>(item % p_.experts)});
        return;
      }
      give(h, item);
    }
  }

  /// One more copy of each where it fits; false: nothing was added.
  bool fill(const std::vector<size_t>& items) {
    bool added = false;
    for (size_t item : items)
      if (auto h = best_for(item); h < p_.holders.size()) {
        give(h, item);
        added = true;
      }
    return added;
  }

  const assignment_problem& p_;
  size_t items_;
  std::vector<size_t> order_; // holders by key
  std::vector<uint64_t> left_;
  std::vector<uint32_t> copies_; // [items]
  assignment out_;
};

} // namespace

assignment assign(const assignment_problem& problem) {
  return planner(problem).solve();
}

} // namespace coel::policy
