#include "actors/inspect_json.hpp"

#include <algorithm>

namespace coel::actors {

namespace {

bool is_link(const hop& h) {
  return h.actor == "link";
}

placed_hop named(const hop& h) {
  std::string what(h.actor);
  if (what == "head")
    return {"device", what, {}, h.at_us, h.took_us};
  if (what == "attention")
    return {"device", what, h.layer, h.at_us, h.took_us};
  if (is_link(h))
    return {what, "sum", h.layer, h.at_us, h.took_us, h.node, h.there_us};
  return {what, what == "gate" ? "dispatch" : "run", h.layer, h.at_us, h.took_us};
}

/// Puts this node's hops one after another and says what filled the time between them.
class step_line {
 public:
  void put(placed_hop h) {
    fill_until(h.at_us, h.layer);
    h.at_us = std::max(h.at_us, now_); // clocks of two threads, rounded
    now_ = h.at_us + h.took_us;
    placed_.push_back(std::move(h));
  }

  void put_beside(placed_hop h) {
    neighbours_until_ = std::max(neighbours_until_, h.at_us + h.took_us);
    waited_layer_ = h.layer;
    placed_.push_back(std::move(h));
  }

  std::vector<placed_hop> end(uint32_t total_us) {
    bool drew = !placed_.empty() && placed_.back().work == "head";
    if (drew && total_us > now_)
      put({"session", "draw", {}, now_, total_us - now_});
    fill_until(total_us, {});
    return std::move(placed_);
  }

  uint32_t now() const { return now_; }

 private:
  void fill_until(uint32_t at_us, std::optional<uint16_t> layer) {
    if (auto until = std::min(neighbours_until_, at_us); until > now_)
      add({"link", "wait", waited_layer_, now_, until - now_});
    if (at_us > now_)
      add({"scheduler", "plan", layer, now_, at_us - now_});
  }
  void add(placed_hop h) {
    now_ += h.took_us;
    placed_.push_back(std::move(h));
  }

  std::vector<placed_hop> placed_;
  uint32_t now_ = 0;
  uint32_t neighbours_until_ = 0;
  std::optional<uint16_t> waited_layer_;
};

} // namespace

std::vector<placed_hop> place_hops(const token_trace& token) {
  const auto& hops = token.hops;
  auto has_neighbours = [&](size_t experts) {
    return experts + 1 < hops.size() && is_link(hops[experts + 1]);
  };
  step_line line;
  for (size_t i = 0; i < hops.size(); ++i) {
    auto h = named(hops[i]);
    if (is_link(hops[i])) {
      line.put_beside(std::move(h));
      continue;
    }
    if (h.actor == "gate" && i + 1 < hops.size())
      h.at_us = has_neighbours(i + 1) ? line.now()
                                      : hops[i + 1].at_us - std::min(hops[i + 1].at_us, h.took_us);
    if (h.actor == "experts" && has_neighbours(i))
      h.at_us = line.now();
    line.put(std::move(h));
  }
  return line.end(token.total_us);
}

} // namespace coel::actors
