#include "policy/placement.hpp"

#include "policy/placement_candidates.hpp"
#include "policy/placement_search.hpp"
#include "policy/session_homing.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace coel::policy {

namespace {

constexpr std::string_view shape_names[] = {"auto", "horizontal", "layers", "stages"};
constexpr double horizontal_slack = 0.2;

std::string gigabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", bytes / 1e9);
  return text;
}

home_traffic thinned(const home_traffic& t, size_t most) {
  home_traffic out;
  out.trace.shape = t.trace.shape;
  out.weight = t.weight;
  size_t n = t.trace.tokens(), kept = std::min(n, most);
  // Runs of neighbours, so that prompts stay about one thing.
  constexpr size_t run = 64;
  size_t runs = (kept + run - 1) / run;
  for (size_t r = 0; r < runs; ++r)
    for (size_t i = 0; i < run && out.home.size() < kept; ++i) {
      size_t at = kept == n ? r * run + i : r * n / runs + i;
      if (at >= n)
        break;
      out.trace.append(t.trace.path(at), t.trace.session[at]);
      out.home.push_back(t.home[at]);
    }
  return out;
}

error does_not_fit(const placement_problem& p, const std::vector<uint64_t>& room) {
  auto have = std::accumulate(room.begin(), room.end(), uint64_t{0});
  auto missing = p.model.items() - have;
  auto per_expert = static_cast<double>(p.model.expert_bytes);
  double shrink = static_cast<double>(have) / static_cast<double>(p.model.items());
  std::string text = p.model.name + " does not fit: its " + std::to_string(p.model.items()) +
                     " experts take " +
                     gigabytes(per_expert * static_cast<double>(p.model.items())) +
                     ", the nodes have room for " + std::to_string(have) + "; " +
                     gigabytes(per_expert * static_cast<double>(missing)) + " are missing";
  if (shrink >= 0.2) {
    char fits[96];
    std::snprintf(fits, sizeof fits,
                  ". Experts of at most %.0f %% of their size would fit: take fewer bits",
                  std::floor(100 * shrink));
    text += fits;
  }
  double grow = per_expert * static_cast<double>(missing) / (1 - memory_reserve);
  return {ec::out_of_memory, text + (shrink >= 0.2 ? ", or add " : ". Add ") + gigabytes(grow) +
                                 " of memory or another node"};
}

class planner {
 public:
  explicit planner(const placement_problem& p)
      : p_(p), costs_(p.model, p.nodes, p.network), fit_(thinned(p.fit, p.options.most_tokens)),
        held_(thinned(p.held_out, p.options.most_tokens)), homes_(p.fit.homes()) {}

  result<placement_plan> solve() {
    if (auto ok = check(); !ok)
      return ok.err();
    plan_.room = rooms();
    auto all = std::accumulate(plan_.room.begin(), plan_.room.end(), uint64_t{0});
    left_ = p_.model.items() - std::min<uint64_t>(p_.model.items(), all);
    if (left_ && !can_read())
      return does_not_fit(p_, plan_.room);
    build();
    polish();
    choose();
    plan_.memory_bytes = costs_.memory_bytes(plan_.best().map, homes_);
    return std::move(plan_);
  }

 private:
  result<void> check() const {
    const auto& m = p_.model;
    if (p_.nodes.empty() || p_.nodes.size() > max_plan_nodes)
      return {ec::bad_argument, "a plan is for 1 to 64 nodes, not " +
                                    std::to_string(p_.nodes.size()) + "; plan a region of them"};
    if (homes_.empty())
      return {ec::bad_argument, "no node is a home: one at least must answer applications"};
    for (const auto* t : {&p_.fit, &p_.held_out}) {
      const auto& s = t->trace.shape;
      if (!t->trace.tokens())
        return {ec::bad_argument, "no routing to plan with: record some with --record-routing"};
      if (s.layers != m.layers || s.experts != m.experts || s.top_k != m.top_k)
        return {ec::bad_argument, "routing of " + std::to_string(s.layers) + " layers, " +
                                      std::to_string(s.experts) + " experts, " +
                                      std::to_string(s.top_k) + " a token; the model has " +
                                      std::to_string(m.layers) + ", " + std::to_string(m.experts) +
                                      ", " + std::to_string(m.top_k)};
    }
    if (p_.network.nodes() != p_.nodes.size() ||
        (!p_.room.empty() && p_.room.size() != p_.nodes.size()))
      return {ec::bad_argument, "links or rooms are not of these nodes"};
    return {};
  }

  std::vector<uint64_t> rooms() const {
    std::vector<uint64_t> out;
    for (uint32_t n = 0; n < p_.nodes.size(); ++n) {
      bool home = std::find(homes_.begin(), homes_.end(), n) != homes_.end();
      out.push_back(p_.room.empty() ? expert_room(p_.nodes[n], p_.model, home)
                                    : std::min<uint64_t>(p_.room[n], p_.model.items()));
    }
    return out;
  }

  /// Every home, experts that are routed: slices of the shared one are always held.
  bool can_read() const {
    auto slices = uint64_t{p_.model.layers} * p_.model.slices;
    return left_ + slices <= p_.model.items() && p_.nodes.size() < max_plan_nodes &&
           std::all_of(homes_.begin(), homes_.end(),
                       [&](uint32_t h) { return p_.nodes[h].read_us > 0; });
  }

  /// What is left to the disks is as if one more node held it, that decodes nothing.
  candidate_inputs inputs_of(const home_traffic& traffic) {
    auto room = plan_.room;
    with_disks_ = traffic;
    if (left_) {
      room.push_back(left_);
      with_disks_.weight.push_back(0);
    }
    return make_inputs(with_disks_, std::move(room));
  }

  /// Of a map with the disks as a node: they get what is used least.
  expert_map without_disks(expert_map map, const std::vector<double>& use) const {
    if (!left_)
      return map;
    auto disks = only(--map.nodes);
    for (auto& h : map.hosts)
      h = h == disks ? 0 : h & ~disks;
    leave_least_used(map, use, p_.model.slices);
    return map;
  }

  void build() {
    auto in = inputs_of(fit_);
    std::mt19937_64 random(p_.options.seed);
    std::vector<std::string> keys;
    for (const auto& n : p_.nodes)
      keys.push_back(n.name);
    if (left_)
      keys.emplace_back();
    use_ = in.common;
    add("random", place_random(in, random), plan_shape::automatic);
    plan_.candidates.back().eligible = false;
    add("rendezvous", place_rendezvous(in, keys), plan_shape::automatic);
    add("popularity", place_popularity(in), plan_shape::horizontal);
    add("sweep", place_sweep(in), plan_shape::horizontal);
    add("layers", place_layers(in), plan_shape::layers);
    add("hull", place_hull(in), plan_shape::automatic);
    if (p_.options.home_by_prompt && homes_.size() > 1) {
      auto by_topic = cluster_sessions(fit_, plan_.room, homes_, p_.options.seed);
      auto topics = inputs_of(by_topic);
      add("topics", place_popularity(topics), plan_shape::horizontal);
      add("topics, hull", place_hull(topics), plan_shape::automatic);
    }
  }

  void add(std::string name, expert_map map, plan_shape shape) {
    if (map.nodes > p_.nodes.size())
      map = without_disks(std::move(map), use_);
    placement_candidate c{std::move(name), std::move(map), {}, {}, 0, true};
    auto asked = p_.options.shape;
    c.eligible = asked == plan_shape::automatic || asked == plan_shape::stages || asked == shape;
    score(c);
    plan_.candidates.push_back(std::move(c));
  }

  void score(placement_candidate& c) const {
    const auto homed =
        p_.options.home_by_prompt ? home_by_prompt(held_, c.map, homes_) : home_traffic{};
    const auto& traffic = p_.options.home_by_prompt ? homed : held_;
    c.decode = costs_.decode(c.map, traffic, p_.options.sessions);
    if (p_.options.prompt_tokens)
      c.prompt = costs_.prompt(c.map, traffic, p_.options.prompt_tokens);
    c.request_us = request_us(c.decode, c.prompt, p_.options);
  }

  /// Local search overfits what it sees: its result is one more candidate, scored like the others.
  void polish() {
    std::vector<size_t> order;
    for (size_t i = 0; i < plan_.candidates.size(); ++i)
      if (plan_.candidates[i].eligible)
        order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return plan_.candidates[a].request_us < plan_.candidates[b].request_us;
    });
    if (!p_.options.search_moves || p_.options.shape == plan_shape::layers || p_.nodes.size() < 2)
      return;
    search_options how{p_.options.search_moves, 0.3,
                       p_.options.shape == plan_shape::horizontal ? horizontal_slack : 0,
                       p_.options.seed};
    for (size_t i = 0; i < std::min<size_t>(order.size(), p_.options.polished); ++i) {
      auto from = plan_.candidates[order[i]];
      auto traffic = p_.options.home_by_prompt ? home_by_prompt(fit_, from.map, homes_) : fit_;
      add(from.name + ", searched",
          search_placement(costs_, traffic, std::move(from.map), plan_.room, how),
          p_.options.shape);
    }
  }

  void choose() {
    size_t best = plan_.candidates.size();
    for (size_t i = 0; i < plan_.candidates.size(); ++i)
      if (plan_.candidates[i].eligible &&
          (best == plan_.candidates.size() ||
           plan_.candidates[i].request_us < plan_.candidates[best].request_us))
        best = i;
    plan_.chosen = best;
    const auto& c = plan_.candidates[best];
    const auto& random = plan_.candidates.front();
    char text[240];
    std::snprintf(text, sizeof text,
                  "%s answers a request of %u and %u tokens in %.1f ms by prediction, %.2f of "
                  "random placement: %.2f rounds a token instead of %.2f",
                  c.name.c_str(), p_.options.prompt_tokens, p_.options.answer_tokens,
                  c.request_us / 1000, c.request_us / std::max(random.request_us, 1e-9),
                  c.decode.rounds, random.decode.rounds);
    plan_.why = text;
    if (left_) {
      std::snprintf(text, sizeof text,
                    "; %llu experts have no room: homes read them, %.2f times a token",
                    static_cast<unsigned long long>(left_), c.decode.missing);
      plan_.why += text;
    }
  }

  const placement_problem& p_;
  cost_model costs_;
  home_traffic fit_, held_;
  home_traffic with_disks_; // behind the inputs
  uint64_t left_ = 0;       // experts without room
  std::vector<double> use_; // [items]
  std::vector<uint32_t> homes_;
  placement_plan plan_;
};

} // namespace

std::string_view to_string(plan_shape shape) {
  return shape_names[static_cast<size_t>(shape)];
}

std::optional<plan_shape> shape_from_name(std::string_view name) {
  for (size_t i = 0; i < std::size(shape_names); ++i)
    if (shape_names[i] == name)
      return static_cast<plan_shape>(i);
  return {};
}

double request_us(const token_cost& decode, const token_cost& prompt,
                  const placement_options& options) {
  double answer = options.answer_tokens * decode.us_with(options.sessions);
  return answer + (options.prompt_tokens ? prompt.us_with(options.sessions) : 0);
}

result<placement_plan> plan_placement(const placement_problem& problem) {
  return planner(problem).solve();
}

} // namespace coel::policy
