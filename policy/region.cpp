#include "policy/region.hpp"

#include "policy/cost_model.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>

namespace coel::policy {

namespace {

constexpr double never = std::numeric_limits<double>::infinity();

struct helper_cost {
  uint64_t room = 0;
  double fixed_us = 0;
  double wire_us = 0;              ///< of a row, both ways
  double first_us = 0, row_us = 0; ///< of an expert, of a row
  double once_us() const { return fixed_us + wire_us + first_us + row_us; }
};

class chooser {
 public:
  explicit chooser(const region_problem& p) : p_(p), k_(p.model.top_k) {
    for (size_t n = 0; n < p.nodes.size(); ++n) {
      auto t = times_of(p.nodes[n], p.model);
      double slow = 1 / (1 - std::clamp(p.nodes[n].utilisation, 0.0, 0.95));
      helper_cost h{expert_room(p.nodes[n], p.model, n == 0), 0, 0, t.expert.expert_us * slow,
                    t.expert.row_us * slow};
      if (n == 0) {
        layer_us_ = t.layer_us * slow;
        layer_row_us_ = t.layer_row_us * slow;
        head_us_ = t.head_us * slow;
      } else {
        h.fixed_us = p.links[n].rtt_us + p.nodes[n].handling_us;
        h.wire_us = 2.0 * p.model.wire_row_bytes / std::max(p.links[n].bytes_us, 1e-6);
      }
      cost_.push_back(h);
    }
  }

  size_t candidates() const { return cost_.size() - 1; }
  const helper_cost& of(uint32_t n) const { return cost_[n]; }
  bool home_fits() const {
    return p_.nodes[0].room || // it says what is left for experts
           static_cast<double>(p_.nodes[0].memory_bytes) * (1 - memory_reserve) >=
               static_cast<double>(p_.model.home_bytes());
  }

  std::optional<region_cost> alone(bool& tiered) const {
    tiered = cost_[0].room < p_.model.items();
    if (!home_fits() || (tiered && p_.nodes[0].store_bytes_us <= 0))
      return {};
    double load = 0, load_prompt = 0;
    if (tiered) {
      double t = static_cast<double>(p_.model.expert_bytes) / p_.nodes[0].store_bytes_us;
      double resident = static_cast<double>(cost_[0].room) / p_.model.layers;
      load = p_.model.layers * k_ * (1 - mass(resident)) * t;
      load_prompt =
          (static_cast<double>(p_.model.items()) - static_cast<double>(cost_[0].room)) * t;
    }
    auto all = std::vector<share>{{0, 1, static_cast<double>(p_.model.experts)}};
    auto c = cost(all);
    c.decode_us += load;
    c.prompt_us += p_.options.prompt_tokens ? load_prompt : 0;
    return with_request(c);
  }

  std::optional<region_cost> several(std::span<const uint32_t> helpers) const {
    auto shares = share_out(helpers);
    if (shares.empty())
      return {};
    return with_request(cost(shares));
  }

  double value(std::span<const uint32_t> helpers) const {
    auto c = several(helpers);
    return c ? c->request_us : never;
  }

  std::vector<uint64_t> experts(std::span<const uint32_t> helpers) const {
    std::vector<uint64_t> out(cost_.size());
    for (const auto& s : share_out(helpers))
      out[s.node] = static_cast<uint64_t>(std::llround(s.experts * p_.model.layers));
    return out;
  }

 private:
  struct share {
    uint32_t node;
    double mass;    ///< of all activations
    double experts; ///< of each layer
  };

  double mass(double experts) const {
    auto last = static_cast<double>(p_.mass.size() - 1);
    experts = std::clamp(experts, 0.0, last);
    auto i = std::min(static_cast<size_t>(experts), p_.mass.size() - 2);
    return p_.mass[i] + (p_.mass[i + 1] - p_.mass[i]) * (experts - static_cast<double>(i));
  }

  /// The home has the most popular experts, then whoever answers soonest.
  std::vector<share> share_out(std::span<const uint32_t> helpers) const {
    if (!home_fits())
      return {};
    std::vector<uint32_t> order(helpers.begin(), helpers.end());
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return cost_[a].once_us() != cost_[b].once_us() ? cost_[a].once_us() < cost_[b].once_us()
                                                      : a < b;
    });
    order.insert(order.begin(), 0u);
    uint64_t room = 0, need = p_.model.items();
    std::vector<share> out;
    for (auto n : order) {
      uint64_t take = std::min(cost_[n].room, need - room);
      double from = static_cast<double>(room) / p_.model.layers;
      double to = static_cast<double>(room + take) / p_.model.layers;
      out.push_back({n, mass(to) - mass(from), to - from});
      room += take;
    }
    if (room < need)
      out.clear();
    return out;
  }

  region_cost cost(const std::vector<share>& shares) const {
    region_cost out;
    double n = p_.options.prompt_tokens, local = 0, prompt = 0;
    std::vector<helper_share> helpers;
    for (const auto& s : shares) {
      const auto& c = cost_[s.node];
      double runs = k_ * s.mass, one = c.first_us + c.row_us;
      double touched =
          s.experts * (1 - std::pow(1 - std::min(1.0, runs / std::max(s.experts, 1e-9)), n));
      double rows = s.node ? n * (1 - std::pow(1 - std::min(1.0, s.mass), k_)) : 0;
      prompt = std::max(prompt, (s.mass > 0 ? c.fixed_us : 0) + rows * c.wire_us +
                                    touched * c.first_us + n * runs * c.row_us);
      if (s.node == 0)
        local = runs * one;
      else if (s.mass > 0)
        helpers.push_back({s.mass, c.once_us() + std::max(0.0, runs - 1) * one});
    }
    double L = p_.model.layers;
    out.decode_us =
        L * (layer_us_ + expected_layer_us(std::move(helpers), local, p_.model.top_k)) + head_us_;
    if (n > 0)
      out.prompt_us = L * (layer_us_ + (n - 1) * layer_row_us_ + prompt) + head_us_;
    return out;
  }

  region_cost with_request(region_cost c) const {
    c.request_us = c.prompt_us + p_.options.answer_tokens * c.decode_us;
    return c;
  }

  const region_problem& p_;
  double k_;
  std::vector<helper_cost> cost_;
  double layer_us_ = 0, layer_row_us_ = 0, head_us_ = 0;
};

using region = std::vector<uint32_t>;

/// One step better by adding, dropping or swapping a helper; false: none is.
bool improve(const chooser& c, region& r, double& now) {
  region best;
  double least = now * (1 - 1e-12);
  auto look = [&](region x) {
    if (double v = c.value(x); v < least) {
      least = v;
      best = std::move(x);
    }
  };
  for (size_t i = 0; i < r.size(); ++i) {
    auto x = r;
    x.erase(x.begin() + static_cast<std::ptrdiff_t>(i));
    look(x);
  }
  for (uint32_t q = 1; q <= c.candidates(); ++q) {
    if (std::find(r.begin(), r.end(), q) != r.end())
      continue;
    auto x = r;
    x.push_back(q);
    look(x);
    for (size_t i = 0; i < r.size(); ++i) {
      x = r;
      x[i] = q;
      look(x);
    }
  }
  if (best.empty())
    return false;
  r = std::move(best);
  now = least;
  return true;
}

template <class Key>
region ordered(const chooser& c, Key key) {
  region order(c.candidates());
  std::iota(order.begin(), order.end(), 1u);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return key(c.of(a)) < key(c.of(b)); });
  return order;
}

/// As many of an order as it takes, after some that are in it for certain.
region first_feasible(const chooser& c, const region& order, region r = {}) {
  for (auto q : order) {
    if (!r.empty() && c.value(r) < never)
      break;
    if (std::find(r.begin(), r.end(), q) == r.end())
      r.push_back(q);
  }
  return r;
}

/// Places to begin from: local optima differ.
std::vector<region> starts_of(const chooser& c) {
  constexpr size_t seeds = 8; // the cheapest candidates, each in it for certain once
  auto cheap = ordered(c, [](const helper_cost& h) { return h.once_us(); });
  auto dense = ordered(c, [](const helper_cost& h) {
    return -static_cast<double>(h.room) / std::max(h.once_us(), 1e-9);
  });
  auto large = ordered(c, [](const helper_cost& h) { return -static_cast<double>(h.room); });
  std::vector<region> out{first_feasible(c, cheap), first_feasible(c, dense),
                          first_feasible(c, large)};
  for (size_t i = 0; i < std::min(seeds, cheap.size()); ++i) {
    out.push_back(first_feasible(c, large, {cheap[i]}));
    out.push_back(first_feasible(c, dense, {large[i]}));
  }
  return out;
}

std::string milliseconds(const region_cost& c) {
  char text[96];
  std::snprintf(text, sizeof text, "%.2f ms a token, %.0f ms a request", c.decode_us / 1000,
                c.request_us / 1000);
  return text;
}

std::string explain(const region_problem& p, const region_plan& plan) {
  std::string helpers;
  for (auto h : plan.helpers)
    helpers += (helpers.empty() ? "" : ", ") + p.nodes[h].name;
  const auto& home = p.nodes[0].name;
  switch (plan.mode) {
  case region_mode::infeasible:
    return p.model.name + " fits neither " + home +
           " nor any set of its neighbours: add memory or nodes, or take fewer bits";
  case region_mode::several:
    return home + " with " + helpers + ": " + milliseconds(plan.cost) + "; " + home + " alone" +
           (plan.alone ? ": " + milliseconds(*plan.alone) : " cannot hold the model");
  case region_mode::single:
  case region_mode::tiered:
    break;
  }
  std::string text =
      home + " alone" +
      (plan.mode == region_mode::tiered ? ", reading the rest from its SSD: " : ": ") +
      milliseconds(plan.cost);
  if (plan.several)
    text += (plan.several->request_us < plan.cost.request_us
                 ? "; the best region is not enough faster: "
                 : "; one node alone is faster than the best region: ") +
            milliseconds(*plan.several);
  return text;
}

} // namespace

std::string_view to_string(region_mode mode) {
  constexpr std::string_view names[] = {"single", "tiered", "several", "infeasible"};
  return names[static_cast<size_t>(mode)];
}

std::optional<region_cost> cost_of_region(const region_problem& problem,
                                          std::span<const uint32_t> helpers) {
  return chooser(problem).several(helpers);
}

std::optional<region> enumerate_regions(const region_problem& problem) {
  chooser c(problem);
  std::optional<region> best;
  double least = never;
  for (uint64_t set = 1; set < uint64_t{1} << c.candidates(); ++set) {
    region r;
    for (uint32_t q = 1; q <= c.candidates(); ++q)
      if (set >> (q - 1) & 1)
        r.push_back(q);
    if (double v = c.value(r); v < least) {
      least = v;
      best = r;
    }
  }
  return best;
}

std::optional<region> grow_region(const region_problem& problem) {
  chooser c(problem);
  std::optional<region> best;
  double least = never;
  auto starts = starts_of(c);
  for (auto& r : starts) {
    double now = c.value(r);
    if (r.empty() || now == never)
      continue;
    while (improve(c, r, now)) {
    }
    if (now < least) {
      least = now;
      best = r;
    }
  }
  if (best)
    std::sort(best->begin(), best->end());
  return best;
}

region_plan choose_region(const region_problem& problem) {
  chooser c(problem);
  region_plan out;
  bool tiered = false;
  out.alone = c.alone(tiered);
  auto helpers = c.candidates() <= problem.options.enumerate_up_to ? enumerate_regions(problem)
                                                                   : grow_region(problem);
  if (helpers)
    out.several = c.several(*helpers);
  bool join = out.several && (!out.alone || out.several->request_us <=
                                                problem.options.margin * out.alone->request_us);
  if (join) {
    out.mode = region_mode::several;
    out.helpers = *helpers;
    out.cost = *out.several;
  } else if (out.alone) {
    out.mode = tiered ? region_mode::tiered : region_mode::single;
    out.cost = *out.alone;
  }
  out.experts = c.experts(out.helpers);
  out.why = explain(problem, out);
  return out;
}

std::vector<double> mass_curve(std::span<const double> popularity, uint32_t experts) {
  std::vector<double> sorted(experts), curve(experts + 1);
  for (size_t from = 0; from + experts <= popularity.size(); from += experts) {
    std::vector<double> layer(popularity.begin() + static_cast<std::ptrdiff_t>(from),
                              popularity.begin() + static_cast<std::ptrdiff_t>(from + experts));
    std::sort(layer.rbegin(), layer.rend());
    for (uint32_t e = 0; e < experts; ++e)
      sorted[e] += layer[e];
  }
  double all = std::accumulate(sorted.begin(), sorted.end(), 0.0);
  if (all <= 0)
    return mass_curve(experts);
  for (uint32_t e = 0; e < experts; ++e)
    curve[e + 1] = curve[e] + sorted[e] / all;
  curve[experts] = 1;
  return curve;
}

std::vector<double> mass_curve(uint32_t experts) {
  if (!experts)
    return {0, 1};
  std::vector<double> zipf(experts);
  for (uint32_t e = 0; e < experts; ++e)
    zipf[e] = std::pow(e + 1, -0.54);
  return mass_curve(zipf, experts);
}

} // namespace coel::policy
