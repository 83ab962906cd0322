#include "actors/updater_planning.hpp"

#include "actors/errors.hpp"
#include "actors/planning_facts.hpp"
#include "actors/routing_samples.hpp"
#include "policy/stage_upkeep.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>

namespace coel::actors {

namespace {

using namespace std::chrono_literals;
using letters = std::vector<policy::region_reservation::letter>;
using phase = policy::region_reservation::state;

constexpr uint32_t most_doublings = 5;
constexpr auto answer_patience = 120s; // a large plan on a busy machine
constexpr uint64_t fresh_tokens = 32;  // then this home's tokens are priced again
constexpr auto moved_pause = 2s; // and so soon where experts or stages are elsewhere than then

policy::moment moment_now() {
  return std::chrono::duration_cast<policy::moment>(steady::now().time_since_epoch());
}

/// Attempts are never numbered the same again, after a restart neither.
uint64_t next_attempt() {
  static std::atomic<uint64_t> last = 0;
  auto now = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                       std::chrono::system_clock::now().time_since_epoch())
                                       .count());
  auto before = last.load();
  while (!last.compare_exchange_weak(before, std::max(now, before + 1))) {
  }
  return std::max(now, before + 1);
}

const member* member_with(const updater_state& st, const std::string& key) {
  for (const auto& who : *st.members)
    if (who.key == key && who.up)
      return &who;
  return nullptr;
}

std::string name_of(const updater_state& st, const std::string& key) {
  if (key == st.config.key)
    return st.config.name;
  for (const auto& who : *st.members)
    if (who.key == key && !who.name.empty())
      return who.name;
  return key;
}

/// Keys are for machines.
std::string with_names(const updater_state& st, std::string text) {
  for (const auto& who : *st.members)
    if (auto at = text.find(who.key); at != std::string::npos && !who.name.empty())
      text.replace(at, who.key.size(), who.name);
  if (auto at = text.find(st.config.key); at != std::string::npos)
    text.replace(at, st.config.key.size(), st.config.name);
  return text;
}

uint64_t capacity_of(const updater_state& st) {
  uint64_t bytes = 0;
  for (const auto& [name, m] : st.models)
    bytes += m.space * m.expert_bytes;
  return bytes;
}

// ---- memory

/// This node's own part is asked for and given like those of others.
void post(updater_ptr self, placed_model& m, letters out) {
  auto& st = self->state;
  auto& memory = *m.planner.memory;
  while (!out.empty()) {
    letters more;
    for (auto& l : out)
      if (l.to == st.config.key) {
        auto said = memory.hear(l.to, st.promised.hear(l.message, moment_now()), moment_now());
        more.insert(more.end(), said.begin(), said.end());
      } else if (const auto* who = member_with(st, l.to)) {
        self->send(who->link, l.message);
      }
    out = std::move(more);
  }
}

/// All the room that planned nodes have for the model: a better plan then needs no new promises.
std::map<std::string, uint64_t> needs_of(const updater_state& st, const placed_model& m) {
  std::map<std::string, uint64_t> out;
  for (const auto& share : m.planner.candidate->shares) {
    if (!share.holds.count())
      continue;
    if (share.key == st.config.key)
      out[share.key] = m.room * m.expert_bytes;
    else if (const auto* who = member_with(st, share.key))
      if (const auto* r = record_of(*who, m))
        out[share.key] = r->capacity_bytes;
  }
  return out;
}

bool is_held(const planning& p) {
  return p.memory && p.memory->now_in() == phase::held;
}

bool covers(const std::map<std::string, uint64_t>& have,
            const std::map<std::string, uint64_t>& need) {
  return std::all_of(need.begin(), need.end(), [&](const auto& n) {
    auto at = have.find(n.first);
    return at != have.end() && at->second >= n.second;
  });
}

void give_memory_back(updater_ptr self, placed_model& m) {
  auto& p = m.planner;
  if (!p.memory)
    return;
  post(self, m, p.memory->release(moment_now()));
  p.memory.reset();
  p.reserved.clear();
}

void ask_for_memory(updater_ptr self, placed_model& m, std::map<std::string, uint64_t> need) {
  auto& st = self->state;
  auto& p = m.planner;
  give_memory_back(self, m);
  std::vector<policy::region_reservation::part> parts;
  parts.reserve(need.size());
  for (const auto& [key, bytes] : need)
    parts.push_back({key, bytes});
  double priority = m.tokens_per_s * (1 + p.failures);
  p.memory.emplace(reservation_id{st.config.key, next_attempt()}, std::move(parts), priority,
                   moment_now());
  p.reserved = std::move(need);
  post(self, m, p.memory->advance(moment_now()));
}

// ---- a plan becomes the one that is followed

std::string sources_of(const planning& p) {
  return ", from tokens of " + std::to_string(p.sampled) + (p.sampled == 1 ? " home" : " homes");
}

void publish_plan(updater_ptr self, placed_model& m) {
  auto& p = m.planner;
  auto epoch = p.followed.epoch + 1;
  p.followed = std::move(*p.candidate);
  p.candidate.reset();
  p.followed.epoch = epoch;
  p.followed.planner = self->state.config.key;
  p.failures = 0;
  p.note = "planned for " + std::to_string(p.planned.nodes.size()) + " nodes" + sources_of(p);
}

void fail_candidate(const updater_state& st, planning& p) {
  p.note = "no memory for the plan: " + with_names(st, p.memory->why());
  p.candidate.reset();
  p.planned = {}; // to be tried again
  ++p.failures;
  p.tried = steady::now();
}

/// True: it is followed now.
bool bring_candidate_on(updater_ptr self, placed_model& m) {
  auto& st = self->state;
  auto& p = m.planner;
  auto need = needs_of(st, m);
  if (is_held(p) && covers(p.reserved, need)) {
    publish_plan(self, m);
    return true;
  }
  auto in = p.memory ? p.memory->now_in() : phase::released;
  bool under_way = in == phase::offering || in == phase::confirming;
  if (!under_way && in != phase::failed)
    ask_for_memory(self, m, std::move(need));
  if (p.memory->now_in() == phase::failed) {
    fail_candidate(st, p);
    p.memory.reset(); // what it had was given back
    p.reserved.clear();
  } else if (is_held(p)) {
    publish_plan(self, m);
    return true;
  }
  return false;
}

// ---- asking for a plan

void take_answer(updater_ptr self, placed_model& m, const policy::plan_basis& basis,
                 const policy::expert_map& present, const plan_answer& answer) {
  auto& st = self->state;
  auto& p = m.planner;
  p.planned = basis;
  if (!answer.plan) {
    p.note = answer.why.message;
    return;
  }
  const auto& plan = *answer.plan;
  bool staged = !p.followed.stages.empty(), stays = plan.kind == policy::plan_kind::stages;
  bool broken = staged && followed_stages(m, basis).empty();
  bool pinned = st.config.planning.shape == policy::plan_shape::stages && !staged && stays;
  bool move = !p.followed.epoch || !answer.present || broken || pinned;
  if (!move) {
    double before = answer.present->request_us, then = plan.placement.best().request_us;
    move = staged && !stays ? policy::worth_leaving_stages(before, then)
                            : policy::worth_moving(before, then);
  }
  if (move)
    p.candidate = record_of_plan(plan, basis);
  else
    p.candidate = record_of_present(present, *answer.present, plan, p.followed, basis);
  bool same = p.followed.planner == st.config.key && p.followed.shares == p.candidate->shares &&
              p.followed.stages == p.candidate->stages;
  if (same && is_held(p) && covers(p.reserved, needs_of(st, m))) { // nothing to tell
    p.note = p.candidate->why + sources_of(p);
    p.candidate.reset();
  }
}

/// Each expert has a node, or homes are to read it.
bool runs_all(const placed_model& m, const policy::expert_map& map) {
  for (size_t i = 0; i < map.hosts.size(); ++i)
    if (!map.hosts[i] && !left_to_disks(m, i))
      return false;
  return true;
}

void ask_placer(updater_ptr self, const std::string& name, const policy::plan_basis& basis,
                const routing_samples& samples) {
  auto& st = self->state;
  auto& m = st.models.at(name);
  auto cluster = cluster_of(st, m, basis, samples);
  m.planner.sampled = static_cast<size_t>(std::count_if(
      samples.begin(), samples.end(), [](const auto& s) { return s.second->tokens() > 0; }));
  auto present = mended_map(st, m, basis);
  auto ask = std::make_shared<plan_question>();
  ask->problem = policy::problem_of(cluster);
  if (runs_all(m, present))
    ask->present = present;
  ask->stages = followed_stages(m, basis);
  self->request(st.placer, answer_patience, plan_question_ptr(std::move(ask)))
      .then(
          [=](const plan_answer_ptr& answer) {
            auto& now = self->state.models.at(name);
            now.planner.computing = false;
            take_answer(self, now, basis, present, *answer);
          },
          [=](caf::error& why) {
            auto& now = self->state.models.at(name).planner;
            now.computing = false;
            now.note = "no plan was made: " + from_caf(why).message;
          });
}

void begin_plan(updater_ptr self, const std::string& name) {
  auto& m = self->state.models.at(name);
  m.planner.computing = true;
  m.planner.tried = steady::now();
  gather_samples(self, m, [self, name, basis = m.planner.seen](const routing_samples& samples) {
    ask_placer(self, name, basis, samples);
  });
}

bool is_due(const updater_state& st, const planning& p) {
  const auto& how = st.config.planning;
  auto reason = policy::reason_to_replan(p.planned, p.seen);
  bool broken = p.memory && p.memory->now_in() == phase::broken;
  if (reason == policy::replan_reason::none && !broken)
    return false;
  auto now = steady::now();
  auto pause = broken || policy::is_urgent(reason)
                   ? how.settle * (1 << std::min(p.failures, most_doublings))
                   : how.every;
  return now - p.changed >= how.settle && now - p.tried >= pause;
}

bool other_nodes(const policy::plan_basis& a, const policy::plan_basis& b) {
  return a.nodes.size() != b.nodes.size() ||
         !std::equal(a.nodes.begin(), a.nodes.end(), b.nodes.begin(), [](auto& x, auto& y) {
           return x.key == y.key && x.home == y.home && x.room == y.room;
         });
}

/// Sessions at once, of the time in which any decode.
double lately(planning& p, double now_at_once) {
  constexpr double seconds = 20; // that count
  auto now = steady::now();
  auto passed = std::chrono::duration<double>(now - std::exchange(p.looked, now)).count();
  if (now_at_once < 1)
    return p.seen.sessions;
  return p.seen.sessions + (now_at_once - p.seen.sessions) * (1 - std::exp(-passed / seconds));
}

/// True: a plan of this node is followed from now on.
bool look_after(updater_ptr self, const std::string& name, placed_model& m) {
  auto& st = self->state;
  auto& p = m.planner;
  auto basis = basis_of(st, m);
  basis.sessions = lately(p, basis.sessions);
  if (other_nodes(p.seen, basis))
    p.changed = steady::now();
  p.seen = std::move(basis);
  if (p.memory)
    post(self, m, p.memory->advance(moment_now()));
  bool mine = p.seen.nodes.size() > 1 && policy::planner_of(p.seen.nodes) == st.config.key;
  if (!mine) {
    p.candidate.reset();
    give_memory_back(self, m);
    return false;
  }
  if (p.computing)
    return false;
  if (p.candidate)
    return bring_candidate_on(self, m);
  if (is_due(st, p))
    begin_plan(self, name);
  return false;
}

// ---- what this home's tokens should take

void price_here(updater_ptr self, const std::string& name, const policy::plan_basis& basis,
                const routing_sample_ptr& sample) {
  auto& st = self->state;
  auto& m = st.models.at(name);
  auto cluster = cluster_of(st, m, basis, {{st.config.key, sample}});
  for (auto& n : cluster.nodes)
    n.home = n.key == st.config.key;
  cluster.options.prompt_tokens = 0;
  auto ask = std::make_shared<plan_question>();
  ask->problem = policy::problem_of(cluster);
  ask->present = m.planner.priced_map;
  ask->stages = m.planner.priced_stages;
  ask->plan = false;
  self->request(st.placer, answer_patience, plan_question_ptr(std::move(ask)))
      .then(
          [=](const plan_answer_ptr& answer) {
            auto& now = self->state.models.at(name).planner;
            now.pricing = false;
            now.price = answer->present->decode;
          },
          [=](caf::error&) { self->state.models.at(name).planner.pricing = false; });
}

void look_after_price(updater_ptr self, const std::string& name, placed_model& m) {
  auto& st = self->state;
  auto& p = m.planner;
  auto pause = steady::now() - p.priced_at;
  if (!m.hosted.scheduler || p.pricing || p.computing || p.seen.nodes.empty() ||
      m.routed_tokens < fresh_tokens || pause < moved_pause)
    return;
  auto held = held_map(st, m, p.seen);
  auto stages = followed_stages(m, p.seen);
  bool moved = held != p.priced_map || stages != p.priced_stages;
  bool fresh =
      m.routed_tokens >= p.priced_tokens + fresh_tokens && pause >= st.config.planning.every;
  if (!moved && !fresh)
    return;
  p.pricing = true;
  p.priced_map = std::move(held);
  p.priced_stages = std::move(stages);
  p.priced_at = steady::now();
  p.priced_tokens = m.routed_tokens;
  self->request(m.hosted.scheduler, 5s, atom::sample::value)
      .then([=, basis = p.seen](
                const routing_sample_ptr& sample) { price_here(self, name, basis, sample); },
            [=](caf::error&) { self->state.models.at(name).planner.pricing = false; });
}

} // namespace

void follow_newest(const updater_state& st, placed_model& m) {
  for (const auto& who : *st.members) {
    const auto* r = record_of(who, m);
    if (!r || !r->plan.epoch || !r->plan.newer_than(m.planner.followed))
      continue;
    bool fits = std::all_of(r->plan.shares.begin(), r->plan.shares.end(),
                            [&](const auto& s) { return s.holds.size() == m.items(); });
    if (fits)
      m.planner.followed = r->plan;
  }
}

void look_after_plans(updater_ptr self, const std::function<void()>& follow) {
  auto& st = self->state;
  st.promised.set_capacity(capacity_of(st));
  st.promised.expire(moment_now());
  bool fresh = false;
  for (auto& [name, m] : st.models) {
    fresh |= look_after(self, name, m);
    look_after_price(self, name, m);
  }
  if (fresh)
    follow();
}

void hear_reservation(updater_ptr self, const std::string& key, const reservation_message& word) {
  auto& st = self->state;
  if (said_by_home(word.kind)) {
    const auto* who = member_with(st, key);
    if (word.id.home == key && who) // nobody speaks for another
      self->send(who->link, st.promised.hear(word, moment_now()));
    return;
  }
  for (auto& [name, m] : st.models)
    if (m.planner.memory && m.planner.memory->id() == word.id)
      return post(self, m, m.planner.memory->hear(key, word, moment_now()));
}

void forget_promises(updater_state& st, const std::string& key) {
  st.promised.drop(key);
}

planning_status planning_now(const updater_state& st, const placed_model& m) {
  const auto& p = m.planner;
  planning_status out;
  out.plan = p.followed;
  out.planner = p.followed.epoch ? name_of(st, p.followed.planner) : "";
  out.state = p.computing ? "plans" : p.candidate ? "reserves" : is_held(p) ? "holds" : "follows";
  out.note = p.note;
  for (const auto& share : p.followed.shares)
    out.names.push_back(name_of(st, share.key));
  if (p.price) {
    out.token_us = p.price->us;
    out.rounds = p.price->rounds;
    out.bytes = p.price->bytes;
  }
  out.sessions_sent = m.sessions_sent;
  out.expert_bytes = m.expert_bytes;
  out.capacity_bytes = capacity_of(st);
  for (const auto& [home, bytes] : st.promised.by_home())
    out.promised.push_back({name_of(st, home), bytes});
  return out;
}

} // namespace coel::actors
