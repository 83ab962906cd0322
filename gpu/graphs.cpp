#include "gpu/graphs.hpp"

#include <algorithm>
#include <cstring>

namespace coel::gpu {

namespace {

/// Fewer are started as fast one by one.
constexpr size_t least_steps = 3;

uint64_t mixed(uint64_t h, uint64_t value) {
  h ^= value + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
  return h * 0xff51afd7ed558ccdu;
}

uint64_t word_at(const std::byte* p) {
  uint64_t w = 0;
  std::memcpy(&w, p, sizeof w);
  return w;
}

size_t args_bytes(const step& s) {
  return s.bytes ? 0 : info(s.what).args_bytes;
}

uint64_t hash_of(const std::vector<step>& steps) {
  uint64_t h = steps.size();
  for (const auto& s : steps) {
    h = mixed(h, static_cast<uint64_t>(s.what));
    h = mixed(h, uint64_t{s.blocks.x} << 40 ^ uint64_t{s.blocks.y} << 20 ^ s.blocks.z);
    h = mixed(h, reinterpret_cast<uintptr_t>(s.to));
    h = mixed(h, reinterpret_cast<uintptr_t>(s.from));
    h = mixed(h, s.bytes);
    for (size_t i = 0; i + 8 <= args_bytes(s); i += 8)
      h = mixed(h, word_at(s.args.data() + i));
  }
  return h;
}

bool same(const step& a, const step& b) {
  return a.what == b.what && a.blocks.x == b.blocks.x && a.blocks.y == b.blocks.y &&
         a.blocks.z == b.blocks.z && a.to == b.to && a.from == b.from && a.bytes == b.bytes &&
         std::memcmp(a.args.data(), b.args.data(), args_bytes(a)) == 0;
}

} // namespace

result<graph_ptr> graph_cache::find(const std::vector<step>& steps) {
  if (steps.size() < least_steps)
    return graph_ptr();
  auto hash = hash_of(steps);
  auto at = entries_.find(hash);
  if (at == entries_.end() || !std::equal(steps.begin(), steps.end(), at->second.steps.begin(),
                                          at->second.steps.end(), same)) {
    if (kept_ + steps.size() > most_ && !entries_.empty())
      forget_older_half();
    auto& e = entries_[hash];
    kept_ += steps.size() - e.steps.size();
    e = {steps, nullptr, ++turn_};
    return graph_ptr();
  }
  auto& e = at->second;
  e.used = ++turn_;
  if (!e.made) {
    auto made = on_->make_graph(steps);
    if (!made)
      return made.err().code == ec::device_lost ? made : result<graph_ptr>(graph_ptr());
    e.made = std::move(*made);
    ++counts_.made;
  }
  ++counts_.started;
  return e.made;
}

/// Half of them, so that it is seldom done.
void graph_cache::forget_older_half() {
  std::vector<uint64_t> turns;
  for (const auto& [hash, e] : entries_)
    turns.push_back(e.used);
  auto middle = turns.begin() + static_cast<std::ptrdiff_t>(turns.size() / 2);
  std::nth_element(turns.begin(), middle, turns.end());
  std::erase_if(entries_, [&, limit = *middle](const auto& e) {
    bool old = e.second.used <= limit;
    kept_ -= old ? e.second.steps.size() : 0;
    return old;
  });
}

} // namespace coel::gpu
