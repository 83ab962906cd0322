#include "policy/planner.hpp"

#include "policy/expert_pool.hpp"
#include "policy/placement_candidates.hpp"

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace coel::policy {

namespace {

/// A lost stage costs its sessions their prompts again, each stage takes KV for its sessions, and
/// several sessions pass in groups that read experts anew: what is predicted as soon as the hub is
/// not worth that.
constexpr double stages_margin = 0.85;
constexpr size_t ways_priced = 3; // of the soonest tokens; prompts are priced only then

/// A request that has the nodes to itself.
double single_us(const token_cost& decode, const token_cost& prompt,
                 const placement_options& options) {
  return options.answer_tokens * decode.us + prompt.us;
}

class whole_planner {
 public:
  whole_planner(const placement_problem& p, const region_options& region)
      : p_(p), options_(region), costs_(p.model, p.nodes, p.network), homes_(p.fit.homes()) {
    options_.prompt_tokens = p.options.prompt_tokens;
    options_.answer_tokens = p.options.answer_tokens;
  }

  result<cluster_plan> solve() {
    if (p_.nodes.empty() || p_.nodes.size() > max_plan_nodes || homes_.empty() ||
        p_.network.nodes() != p_.nodes.size() || !p_.fit.trace.tokens())
      return plan_placement(p_).err(); // says what is wrong
    find_regions();
    auto with = place(out_.members);
    auto all = place(every());
    if (!with && !all)
      return with.err();
    // The region is chosen by popularity alone; more nodes must show a gain on real routing.
    bool more = all && (!with || all->best().request_us < 0.98 * with->best().request_us);
    if (more)
      out_.members = every();
    out_.placement = std::move(more ? *all : *with);
    hub_request_us_ = out_.placement.best().request_us;
    hub_name_ = out_.placement.best().name;
    hub_rounds_ = out_.placement.best().decode.rounds;
    add_way();
    if (p_.options.shape != plan_shape::stages)
      compare_alone();
    explain();
    return std::move(out_);
  }

 private:
  node_set every() const {
    return p_.nodes.size() == 64 ? ~node_set{0} : only(static_cast<uint32_t>(p_.nodes.size())) - 1;
  }

  void find_regions() {
    auto popularity = make_inputs(p_.fit, std::vector<uint64_t>(p_.nodes.size())).common;
    for (auto h : homes_) {
      region_problem r{
          p_.model, {p_.nodes[h]}, {{}}, mass_curve(popularity, p_.model.experts), options_};
      std::vector<uint32_t> who{h};
      for (uint32_t n = 0; n < p_.nodes.size(); ++n)
        if (n != h) {
          who.push_back(n);
          r.nodes.push_back(p_.nodes[n]);
          r.links.push_back(p_.network.between(h, n));
        }
      auto plan = choose_region(r);
      out_.members |= only(h);
      for (auto& x : plan.helpers)
        out_.members |= only(x = who[x]);
      out_.regions.push_back(std::move(plan));
      out_.region_home.push_back(h);
    }
  }

  result<placement_plan> place(node_set members) const {
    auto p = p_;
    p.room.clear();
    for (uint32_t n = 0; n < p_.nodes.size(); ++n) {
      bool home = std::find(homes_.begin(), homes_.end(), n) != homes_.end();
      p.room.push_back(members >> n & 1 ? expert_room(p_.nodes[n], p_.model, home) : 0);
    }
    return plan_placement(p);
  }

  /// The soonest way through homes over any of the maps, and over maps made for it.
  void add_way() {
    auto maps = out_.placement.candidates;
    std::erase_if(maps, [](const auto& c) { return c.name == "random" || !c.eligible; });
    for (bool even : {false, true})
      if (auto map = place_stages(costs_, p_.held_out, out_.placement.room, even)) {
        placement_candidate made;
        made.name = even ? "layers by speed" : "layers where fastest";
        made.map = std::move(*map);
        maps.push_back(std::move(made));
      }
    struct one_way {
      std::vector<stage> stages;
      const placement_candidate* over = nullptr;
      double token_us = 0;
    };
    bool pinned = p_.options.shape == plan_shape::stages;
    std::vector<one_way> ways;
    for (const auto& c : maps)
      if (auto way = find_way(costs_, c.map, p_.held_out, pinned)) {
        auto sessions = p_.options.sessions;
        auto decode = decode_by_way(costs_, c.map, p_.held_out, sessions, way->stages);
        ways.push_back({std::move(way->stages), &c, decode.us_with(sessions)});
      }
    std::stable_sort(ways.begin(), ways.end(),
                     [](const auto& a, const auto& b) { return a.token_us < b.token_us; });
    if (ways.size() > ways_priced)
      ways.resize(ways_priced);
    placement_candidate best;
    for (auto& [stages, over, token_us] : ways) {
      auto way = price_way(costs_, over->map, p_.held_out, p_.options, std::move(stages));
      if (out_.way && way.request_us >= out_.way->request_us)
        continue;
      best = {"stages: " + over->name, over->map, way.decode, way.prompt, way.request_us, true};
      out_.way = std::move(way);
    }
    if (!out_.way)
      return;
    bool taken =
        pinned || (p_.options.shape == plan_shape::automatic &&
                   out_.way->request_us < stages_margin * hub_request_us_ && sooner_alone());
    out_.placement.candidates.push_back(std::move(best));
    if (!taken)
      return;
    out_.kind = plan_kind::stages;
    out_.placement.chosen = out_.placement.candidates.size() - 1;
    out_.placement.memory_bytes = costs_.memory_bytes(out_.placement.best().map, homes_);
  }

  /// What is only won by stages that all work at once is lost where they wait for each other.
  bool sooner_alone() const {
    const auto& hub = out_.placement.best();
    const auto& o = p_.options;
    return single_us(out_.way->decode, out_.way->prompt, o) <
           stages_margin * single_us(hub.decode, hub.prompt, o);
  }

  std::string way_text() const {
    std::string out;
    for (const auto& s : out_.way->stages) {
      char range[64];
      std::snprintf(range, sizeof range, " layers %u to %u", s.first_layer,
                    s.first_layer + s.layers - 1);
      if (!out.empty())
        out += ", ";
      out += p_.nodes[s.node].name;
      out += range;
    }
    return out;
  }

  /// Only where there is one home: several homes that hold everything need no plan.
  void compare_alone() {
    auto h = homes_.front();
    if (homes_.size() != 1 || expert_room(p_.nodes[h], p_.model, true) < p_.model.items())
      return;
    expert_map map(static_cast<uint32_t>(p_.nodes.size()), p_.model.layers, p_.model.experts);
    std::fill(map.hosts.begin(), map.hosts.end(), only(h));
    out_.alone_decode = costs_.decode(map, p_.held_out, p_.options.sessions);
    out_.alone_prompt = token_cost{};
    if (p_.options.prompt_tokens)
      out_.alone_prompt = costs_.prompt(map, p_.held_out, p_.options.prompt_tokens);
    out_.alone_request_us = request_us(*out_.alone_decode, *out_.alone_prompt, p_.options);
    if (out_.placement.best().request_us <= options_.margin * out_.alone_request_us)
      return;
    out_.kind = plan_kind::alone;
    placement_candidate alone{
        "alone", map, *out_.alone_decode, *out_.alone_prompt, out_.alone_request_us, true};
    out_.placement.candidates.push_back(std::move(alone));
    out_.placement.chosen = out_.placement.candidates.size() - 1;
    out_.placement.memory_bytes = costs_.memory_bytes(map, homes_);
    out_.members = only(h);
  }

  void explain() {
    char text[320];
    const auto& best = out_.placement.best();
    const auto& name = p_.nodes[homes_.front()].name;
    if (out_.kind == plan_kind::alone) {
      double others = 1e300;
      for (const auto& c : out_.placement.candidates)
        if (c.eligible && c.name != "alone")
          others = std::min(others, c.request_us);
      std::snprintf(text, sizeof text,
                    "%s alone: %.1f ms a request; the best placement over more nodes would take "
                    "%.1f ms, and several nodes must take at most %.0f %% to be worth their upkeep",
                    name.c_str(), best.request_us / 1000, others / 1000, 100 * options_.margin);
      out_.why = text;
    } else if (out_.kind == plan_kind::stages) {
      std::snprintf(text, sizeof text,
                    ": %.1f ms a request by prediction; with all attention at the home %s would "
                    "take %.1f ms, in %.2f rounds a token instead of %zu hops",
                    best.request_us / 1000, hub_name_.c_str(), hub_request_us_ / 1000, hub_rounds_,
                    out_.way->stages.size());
      out_.why = "stages, " + way_text() + text;
    } else {
      out_.why = out_.placement.why;
      if (out_.alone_decode) {
        std::snprintf(text, sizeof text, "; %s alone would take %.1f ms", name.c_str(),
                      out_.alone_request_us / 1000);
        out_.why += text;
      }
    }
    if (out_.way && out_.kind != plan_kind::stages) {
      std::snprintf(text, sizeof text, ". Stages (%zu) would take %.1f ms", out_.way->stages.size(),
                    out_.way->request_us / 1000);
      out_.why += text;
    }
  }

  const placement_problem& p_;
  region_options options_;
  cost_model costs_;
  std::vector<uint32_t> homes_;
  double hub_request_us_ = 0, hub_rounds_ = 0;
  std::string hub_name_;
  cluster_plan out_;
};

/// Of machines that say nothing but how fast they are: where all of them have no room for the
/// model, homes with a disk keep a pool, as running nodes do.
placement_problem with_pools(placement_problem p) {
  auto homes = p.fit.homes();
  uint64_t bytes = std::max<uint64_t>(p.model.expert_bytes, 1), room = 0;
  std::vector<pool_member> members;
  for (uint32_t n = 0; n < p.nodes.size(); ++n) {
    const auto& f = p.nodes[n];
    bool home = std::find(homes.begin(), homes.end(), n) != homes.end();
    members.push_back(
        {expert_room(f, p.model, home) * bytes, home && !f.room && f.store_bytes_us > 0});
    room += members.back().bytes / bytes;
  }
  if (room >= p.model.items())
    return p;
  auto pools = pools_of(members, {bytes, p.model.items()},
                        {usual_pool_share, (p.model.top_k + 1) * bytes, 0});
  for (size_t n = 0; n < pools.size(); ++n)
    if (members[n].reads) {
      p.nodes[n].room = (members[n].bytes - pools[n]) / bytes;
      room -= members[n].bytes / bytes - *p.nodes[n].room;
    }
  for (size_t n = 0; n < pools.size(); ++n)
    if (members[n].reads)
      p.nodes[n].read_us = static_cast<double>(bytes) / p.nodes[n].store_bytes_us *
                           read_share(pools[n], (p.model.items() - room) * bytes);
  return p;
}

} // namespace

std::string_view to_string(plan_kind kind) {
  return kind == plan_kind::alone ? "alone" : kind == plan_kind::stages ? "stages" : "experts";
}

result<cluster_plan> plan_cluster(const placement_problem& problem, const region_options& region) {
  auto whole = with_pools(problem);
  return whole_planner(whole, region).solve();
}

} // namespace coel::policy
