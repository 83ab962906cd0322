// Several models over the same memory. See placement.hpp.
#include "policy/placement.hpp"

#include <algorithm>
#include <numeric>

namespace coel::policy {

namespace {

constexpr uint32_t shares = 8; // of the spare memory, given out one by one

class divider {
 public:
  explicit divider(const std::vector<shared_model>& models) : models_(models) {}

  result<std::vector<placement_plan>> solve() {
    if (auto ok = give_minimum(); !ok)
      return ok.err();
    for (uint32_t i = 0; i < shares; ++i)
      give_share(i);
    std::vector<placement_plan> out;
    for (size_t m = 0; m < models_.size(); ++m) {
      auto p = models_[m].problem;
      p.room = room_[m];
      auto plan = plan_placement(p);
      if (!plan)
        return plan.err();
      out.push_back(std::move(*plan));
    }
    return out;
  }

 private:
  /// Dense parts of the homes, then each model's experts once, in proportion to what nodes have.
  result<void> give_minimum() {
    const auto& nodes = models_.front().problem.nodes;
    for (const auto& n : nodes)
      left_.push_back(static_cast<double>(n.memory_bytes) * (1 - memory_reserve));
    for (const auto& m : models_)
      for (auto h : m.problem.fit.homes())
        left_[h] -= static_cast<double>(m.problem.model.home_bytes());
    for (auto& x : left_)
      x = std::max(0.0, x);
    double all = std::accumulate(left_.begin(), left_.end(), 0.0), need = 0;
    for (const auto& m : models_)
      need += static_cast<double>(m.problem.model.expert_total_bytes());
    // Rooms are whole experts: one of each model may be lost on each node.
    for (const auto& m : models_)
      need += static_cast<double>(nodes.size() * m.problem.model.expert_bytes);
    if (need > all)
      return {ec::out_of_memory,
              "the models do not fit together: their experts take " +
                  std::to_string(static_cast<uint64_t>(need / 1e6)) + " MB, the nodes have " +
                  std::to_string(static_cast<uint64_t>(all / 1e6)) + " MB for experts; " +
                  std::to_string(static_cast<uint64_t>((need - all) / 1e6)) +
                  " MB are missing: take fewer bits, leave a model out, or add a node"};
    auto before = left_;
    for (const auto& m : models_) {
      room_.emplace_back();
      const auto& d = m.problem.model;
      for (size_t n = 0; n < nodes.size(); ++n) {
        double part = before[n] / all * static_cast<double>(d.items());
        auto experts = static_cast<uint64_t>(part) + (part > static_cast<double>(uint64_t(part)));
        experts = std::min<uint64_t>(
            experts, static_cast<uint64_t>(left_[n] / static_cast<double>(d.expert_bytes)));
        room_.back().push_back(std::min<uint64_t>(experts, d.items()));
        left_[n] -= static_cast<double>(room_.back().back() * d.expert_bytes);
      }
    }
    spare_ = left_;
    return {};
  }

  /// Predicted time of all requests a second, quickly: without local search.
  double cost(size_t m, const std::vector<uint64_t>& room) const {
    auto p = models_[m].problem;
    p.room = room;
    p.options.search_moves = 0;
    p.options.most_tokens = 300;
    auto plan = plan_placement(p);
    return plan ? plan->best().request_us * models_[m].requests_per_s : 1e300;
  }

  void give_share(uint32_t) {
    size_t best = 0;
    double most = -1;
    std::vector<uint64_t> best_room;
    for (size_t m = 0; m < models_.size(); ++m) {
      auto room = room_[m];
      double bytes = 0;
      for (size_t n = 0; n < room.size(); ++n) {
        auto size = static_cast<double>(models_[m].problem.model.expert_bytes);
        auto items = models_[m].problem.model.items();
        auto extra = static_cast<uint64_t>(std::min(left_[n], spare_[n] / shares + size) / size);
        extra = std::min<uint64_t>(extra, items - std::min<uint64_t>(items, room[n]));
        room[n] += extra;
        bytes += static_cast<double>(extra) * size;
      }
      if (bytes <= 0)
        continue;
      double gain = (cost(m, room_[m]) - cost(m, room)) / bytes;
      if (gain > most) {
        most = gain;
        best = m;
        best_room = room;
      }
    }
    if (best_room.empty())
      return;
    for (size_t n = 0; n < best_room.size(); ++n)
      left_[n] -= static_cast<double>((best_room[n] - room_[best][n]) *
                                      models_[best].problem.model.expert_bytes);
    room_[best] = std::move(best_room);
  }

  const std::vector<shared_model>& models_;
  std::vector<double> left_, spare_;        // [nodes] bytes
  std::vector<std::vector<uint64_t>> room_; // [models][nodes] experts
};

} // namespace

result<std::vector<placement_plan>> plan_models(const std::vector<shared_model>& models) {
  if (models.empty())
    return {ec::bad_argument, "no models to plan for"};
  for (const auto& m : models)
    if (m.problem.nodes.size() != models.front().problem.nodes.size() ||
        m.problem.fit.homes().empty())
      return {ec::bad_argument,
              m.problem.model.name +
                  ": all models are planned over the same nodes, each with a home"};
  return divider(models).solve();
}

} // namespace coel::policy
