#include "policy/planner.hpp"

#include "policy/placement_candidates.hpp"

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace coel::policy {

namespace {

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
    compare_alone();
    add_stages();
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

  /// A node that says how many experts fit does not say what else of a stage would.
  void add_stages() {
    if (p_.nodes[homes_.front()].room)
      return;
    if (auto s = plan_stages(costs_, homes_.front(), p_.options.prompt_tokens)) {
      out_.stages_request_us = s->prompt_us + p_.options.answer_tokens * s->decode_us;
      out_.stages = std::move(*s);
    }
  }

  /// Only where there is one home: several homes that hold everything need no plan.
  void compare_alone() {
    auto h = homes_.front();
    if (homes_.size() != 1 || expert_room(p_.nodes[h], p_.model, true) < p_.model.items())
      return;
    expert_map map(static_cast<uint32_t>(p_.nodes.size()), p_.model.layers, p_.model.experts);
    std::fill(map.hosts.begin(), map.hosts.end(), only(h));
    out_.alone_decode = costs_.decode(map, p_.held_out);
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
    } else {
      out_.why = out_.placement.why;
      if (out_.alone_decode) {
        std::snprintf(text, sizeof text, "; %s alone would take %.1f ms", name.c_str(),
                      out_.alone_request_us / 1000);
        out_.why += text;
      }
    }
    if (out_.stages && out_.stages_request_us < best.request_us) {
      std::snprintf(text, sizeof text, ". Stages of whole layers would take %.1f ms",
                    out_.stages_request_us / 1000);
      out_.why += text;
    }
  }

  const placement_problem& p_;
  region_options options_;
  cost_model costs_;
  std::vector<uint32_t> homes_;
  cluster_plan out_;
};

} // namespace

std::string_view to_string(plan_kind kind) {
  return kind == plan_kind::alone ? "alone" : "experts";
}

result<cluster_plan> plan_cluster(const placement_problem& problem, const region_options& region) {
  return whole_planner(problem, region).solve();
}

} // namespace coel::policy
