#include "actors/updater_homing.hpp"

#include "actors/planning_facts.hpp"
#include "policy/session_homing.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using namespace std::chrono_literals;

constexpr auto price_patience = 500ms; // the session goes on meanwhile
constexpr auto untold = 3s;            // after which a home's record counts what was sent to it
constexpr double usual_answer = 128;   // tokens; few requests use up what they may

struct candidate {
  uint32_t node = 0; ///< in the basis
  const member* who = nullptr;
  double sessions = 0;
};

placed_model* model_with(updater_state& st, const hash256& hash) {
  for (auto& [name, m] : st.models)
    if (m.hosted.model->hash == hash)
      return &m;
  return nullptr;
}

double sent_lately(placed_model& m, const std::string& key) {
  auto& times = m.sent_away[key];
  std::erase_if(times, [](auto t) { return steady::now() - t > untold; });
  return static_cast<double>(times.size());
}

uint32_t node_of(const policy::plan_basis& basis, const std::string& key) {
  auto at = std::find_if(basis.nodes.begin(), basis.nodes.end(),
                         [&](const auto& n) { return n.key == key; });
  return static_cast<uint32_t>(at - basis.nodes.begin());
}

/// Other homes that take work.
std::vector<candidate> other_homes(const updater_state& st, placed_model& m) {
  std::vector<candidate> out;
  for (const auto& who : *st.members) {
    const auto* r = record_of(who, m);
    if (!r || !r->home || who.record->draining)
      continue;
    auto node = node_of(m.planner.seen, who.key);
    if (node < m.planner.seen.nodes.size())
      out.push_back({node, &who, r->sessions + sent_lately(m, who.key)});
  }
  return out;
}

home_choice best_of(placed_model& m, const std::vector<policy::home_price>& prices,
                    const homing_question& ask, uint32_t here,
                    const std::vector<candidate>& others) {
  auto offer = [&](uint32_t node, double again_us, double sessions) {
    const auto& p = prices[node];
    return policy::home_offer{node, p.token_us, p.more_us, again_us, sessions, p.busy_us};
  };
  std::vector<policy::home_offer> offers{offer(here, 0, ask.probe->sessions)};
  for (const auto& c : others)
    offers.push_back(offer(c.node, prices[c.node].again_us, c.sessions));
  auto best = policy::best_home(offers, std::min<double>(ask.answer_tokens, usual_answer));
  for (const auto& c : others)
    if (c.node == best) {
      m.sent_away[c.who->key].push_back(steady::now());
      ++m.sessions_sent;
      return {c.who->link, c.who->name};
    }
  return {};
}

} // namespace

caf::result<home_choice> choose_home(updater_ptr self, const homing_question& ask) {
  auto& st = self->state;
  auto* m = model_with(st, ask.model);
  auto others = m ? other_homes(st, *m) : std::vector<candidate>{};
  if (others.empty())
    return home_choice{};
  auto basis = m->planner.seen;
  auto question = std::make_shared<home_prices_question>();
  question->cluster = cluster_of(st, *m, basis, {});
  question->held = held_map(st, *m, basis);
  question->probe = ask.probe;
  auto promise = self->make_response_promise<home_choice>();
  auto members = st.members; // candidates point into it
  self->request(st.placer, price_patience, home_prices_question_ptr(std::move(question)))
      .then(
          [=, here = node_of(basis, st.config.key)](const home_prices_ptr& prices) mutable {
            auto* now = model_with(self->state, ask.model);
            promise.deliver(members && now ? best_of(*now, *prices, ask, here, others)
                                           : home_choice{});
          },
          [=](caf::error&) mutable { promise.deliver(home_choice{}); });
  return promise;
}

} // namespace coel::actors
