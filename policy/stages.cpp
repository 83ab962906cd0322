#include "policy/stages.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace coel::policy {

namespace {

constexpr size_t most_nodes = 8; // subsets of more take too long
constexpr double never = std::numeric_limits<double>::infinity();

class stage_planner {
 public:
  stage_planner(const cost_model& costs, uint32_t home, uint32_t prompt_tokens, uint32_t slice_rows)
      : costs_(costs), m_(costs.model()), home_(home), prompt_(prompt_tokens), slice_(slice_rows) {
    pick_nodes();
  }

  result<stage_plan> solve() {
    uint64_t room = 0;
    for (auto c : cap_)
      room += c;
    if (room < m_.layers)
      return {ec::out_of_memory,
              "stages: the nodes have room for " + std::to_string(room) + " of " +
                  std::to_string(m_.layers) +
                  " whole layers with their KV; take fewer bits or less context"};
    search();
    return describe();
  }

 private:
  uint64_t layer_bytes() const {
    return m_.dense_layer_bytes + m_.experts * m_.expert_bytes +
           m_.kv_bytes_per_token * m_.context_tokens / std::max(1u, m_.layers);
  }
  double usable(uint32_t n) const {
    double bytes = static_cast<double>(costs_.nodes()[n].memory_bytes) * (1 - memory_reserve);
    return n == home_ ? bytes - static_cast<double>(m_.head_bytes + m_.embedding_bytes) : bytes;
  }
  double slowdown(uint32_t n) const {
    return 1 / (1 - std::clamp(costs_.nodes()[n].utilisation, 0.0, 0.95));
  }
  /// One layer, whole, for some rows.
  double layer_us(uint32_t n, double rows) const {
    auto t = times_of(costs_.nodes()[n], m_);
    double touched = m_.experts * (1 - std::pow(1 - double{1} * m_.top_k / m_.experts, rows));
    touched = rows <= 1 ? m_.top_k : touched;
    return slowdown(n) * (t.layer_us + (rows - 1) * t.layer_row_us + touched * t.expert.expert_us +
                          rows * m_.top_k * t.expert.row_us);
  }
  double hop_us(uint32_t a, uint32_t b, double rows) const {
    if (a == b)
      return 0;
    const auto& l = costs_.network().between(a, b);
    return l.rtt_us / 2 + costs_.nodes()[b].handling_us / 2 +
           rows * m_.wire_row_bytes / std::max(l.bytes_us, 1e-6);
  }

  void pick_nodes() {
    std::vector<uint32_t> all;
    for (uint32_t n = 0; n < costs_.nodes().size(); ++n)
      if (n != home_ && usable(n) >= static_cast<double>(layer_bytes()))
        all.push_back(n);
    auto promise = [&](uint32_t n) { // a layer there, and the way there shared by all that fit
      double fit = std::min<double>(m_.layers, usable(n) / static_cast<double>(layer_bytes()));
      return layer_us(n, 1) + 2 * hop_us(home_, n, 1) / std::max(1.0, fit);
    };
    std::stable_sort(all.begin(), all.end(),
                     [&](uint32_t a, uint32_t b) { return promise(a) < promise(b); });
    all.resize(std::min(all.size(), most_nodes - 1));
    node_ = {home_};
    node_.insert(node_.end(), all.begin(), all.end());
    for (auto n : node_) {
      double fit =
          std::max(0.0, usable(n)) / static_cast<double>(std::max<uint64_t>(1, layer_bytes()));
      cap_.push_back(static_cast<uint32_t>(std::min<double>(m_.layers, fit)));
      us_.push_back(layer_us(n, 1));
    }
  }

  size_t at(uint32_t set, size_t last, uint32_t done) const {
    return (set * node_.size() + last) * (m_.layers + 1) + done;
  }

  void search() {
    auto n = node_.size();
    best_.assign((size_t{1} << n) * n * (m_.layers + 1), never);
    from_.assign(best_.size(), 0);
    for (uint32_t k = 0; k <= cap_[0]; ++k)
      best_[at(1, 0, k)] = k * us_[0];
    for (uint32_t set = 1; set < 1u << n; ++set)
      for (size_t last = 0; last < n; ++last)
        for (uint32_t done = 0; done < m_.layers; ++done)
          if (double now = best_[at(set, last, done)]; now < never)
            extend(set, last, done, now);
  }

  void extend(uint32_t set, size_t last, uint32_t done, double now) {
    for (size_t next = 0; next < node_.size(); ++next) {
      if (set >> next & 1)
        continue;
      double hop = hop_us(node_[last], node_[next], 1);
      for (uint32_t k = 1; k <= cap_[next] && done + k <= m_.layers; ++k) {
        auto to = at(set | 1u << next, next, done + k);
        if (double d = now + hop + k * us_[next]; d < best_[to]) {
          best_[to] = d;
          from_[to] = at(set, last, done);
        }
      }
    }
  }

  stage_plan describe() const {
    double least = never;
    size_t end = 0;
    for (uint32_t set = 1; set < 1u << node_.size(); ++set)
      for (size_t last = 0; last < node_.size(); ++last) {
        double d = best_[at(set, last, m_.layers)] + hop_us(node_[last], home_, 1);
        if (d < least) {
          least = d;
          end = at(set, last, m_.layers);
        }
      }
    stage_plan out;
    out.memory_bytes.assign(costs_.nodes().size(), 0);
    for (size_t i = end;;) {
      auto done = static_cast<uint32_t>(i % (m_.layers + 1));
      auto last = i / (m_.layers + 1) % node_.size();
      bool first = i / (m_.layers + 1) / node_.size() == 1;
      auto before = first ? 0 : static_cast<uint32_t>(from_[i] % (m_.layers + 1));
      out.stages.insert(out.stages.begin(), {node_[last], before, done - before});
      if (first)
        break;
      i = from_[i];
    }
    finish(out, least);
    return out;
  }

  void finish(stage_plan& out, double decode) const {
    double head = costs_.dense_token_us(home_) -
                  m_.layers * slowdown(home_) * times_of(costs_.nodes()[home_], m_).layer_us;
    out.decode_us = decode + head;
    out.hops = out.stages.size() > 1 ? static_cast<double>(out.stages.size()) : 0;
    out.bytes = out.hops * m_.wire_row_bytes;
    for (const auto& s : out.stages)
      out.memory_bytes[s.node] += s.layers * layer_bytes();
    out.memory_bytes[home_] += m_.head_bytes + m_.embedding_bytes;
    double slices = std::ceil(double{1} * prompt_ / std::max(1u, slice_));
    double rows = prompt_ / std::max(1.0, slices), slowest = 0, all = 0;
    for (size_t i = 0; i < out.stages.size() && prompt_; ++i) {
      auto next = out.stages[(i + 1) % out.stages.size()].node;
      double t = out.stages[i].layers * layer_us(out.stages[i].node, rows);
      bool back = i + 1 == out.stages.size(); // only the last row is of use there
      all += t + hop_us(out.stages[i].node, next, back ? 1 : rows);
      slowest = std::max(slowest, t);
    }
    out.prompt_us = prompt_ ? all + std::max(0.0, slices - 1) * slowest + head : 0;
  }

  const cost_model& costs_;
  const model_demand& m_;
  uint32_t home_, prompt_, slice_;
  std::vector<uint32_t> node_; // the home first
  std::vector<uint32_t> cap_;  // layers that fit
  std::vector<double> us_;     // one layer, one row
  std::vector<double> best_;   // [sets, last, layers done]
  std::vector<size_t> from_;
};

} // namespace

result<stage_plan> plan_stages(const cost_model& costs, uint32_t home, uint32_t prompt_tokens,
                               uint32_t slice_rows) {
  return stage_planner(costs, home, prompt_tokens, slice_rows).solve();
}

} // namespace coel::policy
