#include "policy/expert_room.hpp"

#include <algorithm>
#include <numeric>
#include <optional>

namespace coel::policy {

namespace {

uint64_t spare_of(uint64_t space) {
  return space < 4 ? 0 : std::max<uint64_t>(1, space / 64);
}

uint64_t size_of(const room_demand& m) {
  return m.expert_bytes * m.experts;
}

class division {
 public:
  division(std::span<const node_memory> nodes, std::span<const room_demand> models)
      : nodes_(nodes), models_(models),
        bytes_(nodes.size(), std::vector<uint64_t>(models.size(), 0)), kept_(models.size(), false) {
    for (size_t n = 0; n < nodes.size(); ++n)
      fill(n);
  }

  /// Small models first; what cannot be covered gives way to what can.
  void cover_all() {
    std::vector<size_t> order(models_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return size_of(models_[a]) < size_of(models_[b]); });
    for (size_t m : order) {
      auto before = bytes_;
      kept_[m] = true;
      if (!cover(m)) {
        kept_[m] = false;
        bytes_ = std::move(before);
      }
    }
  }

  std::vector<std::vector<uint64_t>> take() { return std::move(bytes_); }

 private:
  /// Bytes of `from` on `node` go to `to`.
  struct move {
    size_t node = 0, from = 0, to = 0;
  };

  /// In proportion to size.
  void fill(size_t n) {
    long double all = 0;
    for (size_t m = 0; m < models_.size(); ++m)
      all += nodes_[n].runs[m] ? static_cast<long double>(size_of(models_[m])) : 0;
    for (size_t m = 0; m < models_.size(); ++m)
      if (nodes_[n].runs[m])
        bytes_[n][m] = static_cast<uint64_t>(static_cast<long double>(nodes_[n].bytes) *
                                             static_cast<long double>(size_of(models_[m])) / all);
  }

  /// Of a model on a node, as far as it is of use: no node holds an expert twice.
  uint64_t useful(size_t n, size_t m) const { return std::min(bytes_[n][m], whole(m)); }

  /// A copy, with what whole experts and the spare places of `nodes` leave unused.
  uint64_t whole(size_t m, uint64_t nodes = 1) const {
    uint64_t size = size_of(models_[m]);
    return size + size / 60 + 2 * nodes * models_[m].expert_bytes;
  }

  uint64_t total(size_t m) const {
    uint64_t sum = 0;
    for (size_t n = 0; n < nodes_.size(); ++n)
      sum += useful(n, m);
    return sum;
  }

  uint64_t enough(size_t m) const {
    uint64_t nodes = 0;
    for (const auto& n : nodes_)
      nodes += n.runs[m];
    return whole(m, nodes);
  }

  /// What the model can give of its memory on that node without harm.
  uint64_t surplus(size_t n, size_t m) const {
    uint64_t unused = bytes_[n][m] - useful(n, m);
    if (!kept_[m])
      return bytes_[n][m];
    uint64_t over = total(m) - std::min(total(m), enough(m));
    return unused + std::min(over, useful(n, m));
  }

  /// Moves that end with `wanting` having more: the first takes from a surplus.
  std::optional<std::vector<move>> path_to(size_t wanting) const {
    std::vector<std::optional<move>> by(models_.size());
    std::vector<size_t> reached{wanting};
    for (size_t next = 0; next < reached.size(); ++next) {
      size_t to = reached[next];
      for (size_t n = 0; n < nodes_.size(); ++n) {
        if (!nodes_[n].runs[to] || bytes_[n][to] >= whole(to))
          continue;
        for (size_t from = 0; from < models_.size(); ++from) {
          if (from == wanting || by[from] || !bytes_[n][from])
            continue;
          by[from] = move{n, from, to};
          if (surplus(n, from))
            return back_from(by, from, wanting);
          reached.push_back(from);
        }
      }
    }
    return {};
  }

  static std::vector<move> back_from(const std::vector<std::optional<move>>& by, size_t from,
                                     size_t wanting) {
    std::vector<move> out;
    for (size_t m = from; m != wanting; m = by[m]->to)
      out.push_back(*by[m]);
    return out;
  }

  bool cover(size_t m) {
    while (total(m) < enough(m)) {
      auto path = path_to(m);
      if (!path)
        return false;
      uint64_t amount =
          std::min(enough(m) - total(m), surplus(path->front().node, path->front().from));
      for (const auto& step : *path)
        amount = std::min(
            {amount, bytes_[step.node][step.from], whole(step.to) - bytes_[step.node][step.to]});
      for (const auto& step : *path) {
        bytes_[step.node][step.from] -= amount;
        bytes_[step.node][step.to] += amount;
      }
    }
    return true;
  }

  std::span<const node_memory> nodes_;
  std::span<const room_demand> models_;
  std::vector<std::vector<uint64_t>> bytes_; // [nodes][models]
  std::vector<bool> kept_;                   // must stay covered
};

} // namespace

std::vector<std::vector<uint64_t>> divide_memory(std::span<const node_memory> nodes,
                                                 std::span<const room_demand> models) {
  division d(nodes, models);
  d.cover_all();
  return d.take();
}

uint64_t room_with_card(uint64_t memory_bytes, uint64_t card_bytes, uint64_t expert_bytes) {
  return memory_bytes + card_bytes / expert_bytes * expert_bytes;
}

room_share room_in(uint64_t bytes, uint64_t expert_bytes) {
  uint64_t space = bytes / expert_bytes;
  return {space, space - spare_of(space)};
}

} // namespace coel::policy
