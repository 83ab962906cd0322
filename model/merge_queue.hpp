// The merging loop that byte-level BPE and SentencePiece BPE share: neighbours are merged best
// first, ties from the left, in O(n log n) however long the word.
#pragma once

#include <cstdint>
#include <optional>
#include <queue>
#include <vector>

namespace coel::model {

/// `best(left, right)` gives {priority, merged} of a pair of symbols, or nullopt; smaller
/// priorities go first. Symbols are int64_t so that both token ids and spans of text fit.
template <class Symbol, class Best>
std::vector<Symbol> merge_all(std::vector<Symbol> symbols, Best best) {
  struct node {
    Symbol symbol;
    int32_t previous, next;
    uint32_t version = 0; // rises when the symbol changes: older queue entries are void
    bool gone = false;
  };
  struct entry {
    double priority;
    int32_t left, right;
    uint32_t left_version, right_version;
    Symbol merged;
    bool operator<(const entry& o) const { // std::priority_queue takes the largest
      return priority != o.priority ? priority > o.priority : left > o.left;
    }
  };
  std::vector<node> list;
  list.reserve(symbols.size());
  auto count = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < count; ++i)
    list.push_back({symbols[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  std::priority_queue<entry> queue;
  auto at = [&](int32_t i) -> node& { return list[static_cast<size_t>(i)]; };
  auto consider = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0)
      return;
    if (auto found = best(at(left).symbol, at(right).symbol))
      queue.push({found->first, left, right, at(left).version, at(right).version, found->second});
  };
  for (int32_t i = 0; i + 1 < count; ++i)
    consider(i, i + 1);
  while (!queue.empty()) {
    auto top = queue.top();
    queue.pop();
    auto &left = at(top.left), &right = at(top.right);
    if (left.gone || right.gone || left.version != top.left_version ||
        right.version != top.right_version)
      continue;
    left.symbol = top.merged;
    ++left.version;
    right.gone = true;
    left.next = right.next;
    if (right.next >= 0)
      at(right.next).previous = top.left;
    consider(left.previous, top.left);
    consider(top.left, left.next);
  }
  std::vector<Symbol> merged;
  for (int32_t i = count ? 0 : -1; i >= 0; i = at(i).next)
    merged.push_back(at(i).symbol);
  return merged;
}

} // namespace coel::model
