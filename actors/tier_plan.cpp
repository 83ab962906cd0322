#include "actors/tier_plan.hpp"

#include "actors/errors.hpp"
#include "actors/lower_copies.hpp"
#include "model/deep_routers.hpp"
#include "model/memory_needs.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <numeric>

namespace coel::actors {

namespace {

/// Threads, queues, a step's scratch, and what freed blocks of several sizes leave between them.
constexpr uint64_t slack_bytes = uint64_t{64} << 20;

model::serving_shape shape_of(const hosting_config& how) {
  model::serving_shape s;
  s.rows = how.max_rows;
  s.kv_bytes = how.kv_bytes;
  return s;
}

/// The table of tokens, which is read in place where all fits.
uint64_t in_place_bytes(const model::source& from) {
  auto table = from.matrix({model::role::token_embedding, {}, {}});
  return table ? table->bytes() : 0;
}

using needs_list = std::vector<memory_needs>;

result<needs_list> needs_of_all(const std::vector<std::shared_ptr<served_model>>& models,
                                const tiering_choice& choice) {
  needs_list all;
  uint64_t loaded = 0;
  for (const auto& m : models) {
    auto n = model::memory_needs_of(*m->source, shape_of(choice.hosting));
    if (!n)
      return n.err();
    n->dense_bytes = m->dense.bytes + in_place_bytes(*m->source);
    if (m->near) // what every token needs lies there
      n->dense_bytes = n->shared_bytes = n->kv_page_bytes = n->step_bytes = 0;
    n->process_bytes = model::deep_routers::bytes(m->config());
    loaded += m->near ? 0 : m->dense.bytes;
    all.push_back(*n);
  }
  auto now = model::resident_memory();
  if (!all.empty())
    all.front().process_bytes += (now > loaded ? now - loaded : 0) + slack_bytes;
  return all;
}

uint64_t sum(const needs_list& all, uint64_t (*of)(const memory_needs&)) {
  return std::accumulate(all.begin(), all.end(), uint64_t{0},
                         [&](uint64_t a, const memory_needs& n) { return a + of(n); });
}

/// What each gets of a budget that is too small for all of everything.
std::vector<uint64_t> shares(const needs_list& all, uint64_t budget) {
  auto least = sum(all, policy::least_budget), full = sum(all, policy::full_budget);
  double part = budget > least && full > least
                    ? static_cast<double>(budget - least) / static_cast<double>(full - least)
                    : 0;
  std::vector<uint64_t> out;
  for (const auto& n : all) {
    auto low = policy::least_budget(n), high = policy::full_budget(n);
    out.push_back(low +
                  static_cast<uint64_t>(part * static_cast<double>(high > low ? high - low : 0)));
  }
  // A single model is told what it lacks of the budget, not of its share.
  if (out.size() == 1)
    out.front() = budget;
  return out;
}

/// Copies the table of tokens: a mapped file that is cut short while the node runs would end it,
/// and after this nothing is read from the mapping any more.
result<void> own_embedding(served_model& m) {
  auto view = m.source->matrix({model::role::token_embedding, {}, {}});
  if (!view)
    return view.err();
  auto row = row_bytes(view->type, view->cols);
  auto bytes = std::make_shared<std::vector<std::byte>>(view->rows * row);
  for (uint64_t r = 0; r < view->rows; ++r)
    std::copy_n(view->row(r), row, bytes->data() + r * row);
  m.source->release(*view);
  auto copy = *view;
  copy.data = bytes->data();
  copy.stride_bytes = row;
  copy.owner = bytes;
  auto loaded = m.device->load(copy, compute::weight_use::lookup);
  if (!loaded)
    return loaded.err();
  m.dense.embedding = *loaded;
  return {};
}

result<void> give_tier(served_model& m, const memory_needs& needs, const policy::memory_plan& plan,
                       const std::filesystem::path& folder, model::expert_store_ptr store) {
  auto files = model::expert_files::open(m.source, model::direct_file::writes::refused);
  if (!files)
    return files.err();
  m.tiered = std::make_shared<tiering>(needs, plan, std::move(*files),
                                       size_t{m.config().layers} * m.config().experts);
  m.tiered->store = std::move(store);
  if (!folder.empty())
    m.tiered->state_file = folder / (m.name + ".predictor");
  return m.near ? result<void>() : own_embedding(m); // else the device has it in its own memory
}

bool all_fits(const needs_list& needs, const tiering_choice& choice, uint64_t budget) {
  return choice.expert_share == 0 && (budget == 0 || budget >= sum(needs, policy::full_budget));
}

/// By model, of which not all fit.
result<std::vector<policy::memory_plan>>
plans_for(const std::vector<std::shared_ptr<served_model>>& models, const needs_list& needs,
          const tiering_choice& choice, uint64_t budget) {
  std::vector<policy::memory_plan> plans;
  if (choice.expert_share > 0) {
    for (const auto& n : needs)
      plans.push_back(policy::plan_share(n, choice.expert_share));
    return plans;
  }
  if (auto least = sum(needs, policy::least_budget); needs.size() > 1 && budget < least)
    return {ec::out_of_memory, "these models together need at least " +
                                   std::to_string((least >> 20) + 1) +
                                   " MiB: serve fewer of them, or give more with --ram"};
  auto parts = shares(needs, budget);
  for (size_t i = 0; i < needs.size(); ++i) {
    auto plan = policy::plan_memory(needs[i], parts[i]);
    if (!plan)
      return {plan.err().code, models[i]->name + ": " + plan.err().message};
    plans.push_back(*plan);
  }
  return plans;
}

/// Experts on their way at once: reads of one layer, and one or two ahead.
constexpr uint32_t pool_slots = 4;

/// What it has at any size; how many bytes of experts, the cluster's room says.
policy::memory_plan pool_plan(const model::model_config& c, const memory_needs& needs) {
  policy::memory_plan p;
  p.process_bytes = model::deep_routers::bytes(c);
  p.staging_slots = pool_slots;
  p.staging_bytes = pool_slots * needs.read_bytes;
  return p;
}

result<std::shared_ptr<tiering>> make_pool(const served_model& m, model::expert_store_ptr store) {
  auto needs = model::memory_needs_of(*m.source, {});
  if (!needs)
    return needs.err();
  auto files = model::expert_files::open(m.source, model::direct_file::writes::refused);
  if (!files)
    return files.err();
  if (store)
    store->tell(*needs);
  auto pool = std::make_shared<tiering>(*needs, pool_plan(m.config(), *needs), std::move(*files),
                                        size_t{m.config().layers} * m.config().experts);
  pool->store = std::move(store);
  pool->is_pool = true;
  pool->lends = false;
  return pool;
}

} // namespace

result<std::vector<std::string>>
plan_pools(const std::vector<std::shared_ptr<served_model>>& models, const store_choice& stores,
           double share) {
  if (share <= 0)
    return std::vector<std::string>();
  auto chosen = choose_stores(models, stores);
  if (!chosen)
    return chosen.err();
  for (size_t i = 0; i < models.size(); ++i) {
    if (models[i]->near) // its experts go to the card or to memory by another rule
      continue;
    auto pool = make_pool(*models[i], chosen->stores[i]);
    if (pool) {
      (*pool)->share = share;
      models[i]->pool = std::move(*pool);
    } else {
      chosen->notes.push_back(models[i]->name + ": no expert can be read while it runs, " +
                              pool.err().message);
    }
  }
  return std::move(chosen->notes);
}

result<tier_plan> plan_tiers(const std::vector<std::shared_ptr<served_model>>& models,
                             const tiering_choice& choice) {
  auto needs = needs_of_all(models, choice);
  if (!needs)
    return needs.err();
  auto budget = choice.ram_bytes ? choice.ram_bytes : model::memory_within_reach();
  tier_plan out;
  out.budget_bytes = budget;
  if (all_fits(*needs, choice, budget))
    return out;
  auto chosen = choose_stores(models, choice.stores);
  if (!chosen)
    return chosen.err();
  out.notes = std::move(chosen->notes);
  for (size_t i = 0; i < models.size(); ++i)
    if (chosen->stores[i])
      chosen->stores[i]->tell((*needs)[i]);
  auto plans = plans_for(models, *needs, choice, budget);
  if (!plans)
    return plans.err();
  uint64_t total = 0;
  for (size_t i = 0; i < plans->size(); ++i) {
    auto& plan = (*plans)[i];
    total += policy::total_bytes(plan);
    out.other_bytes += plan.process_bytes + plan.staging_bytes;
    if (!models[i]->near)
      out.other_bytes += in_place_bytes(*models[i]->source);
    if (plan.all_fit)
      continue;
    out.any = true;
    const auto& store = chosen->stores[i];
    if (store)
      out.notes.push_back(models[i]->name + ": experts are read from " + store->path().string());
    auto lower = choice.lower.share > 0 ? set_lower_aside(*models[i], plan, choice.lower, out.notes)
                                        : nullptr;
    if (auto ok = give_tier(*models[i], (*needs)[i], plan, choice.state_folder, store); !ok)
      return ok.err();
    models[i]->tiered->lower = std::move(lower);
  }
  if (choice.expert_share > 0)
    out.budget_bytes = total;
  return out;
}

result<void> warm_experts(caf::actor_system& system, const hosted_model& hosted,
                          const tier_actor& ram, const load_progress& progress) {
  const auto& m = *hosted.model;
  caf::scoped_actor self{system};
  result<void> outcome;
  auto note = [&](caf::error& why) {
    auto e = from_caf(why);
    outcome = error{e.code, m.name + ": " + e.message};
  };
  uint64_t total = m.tiered->plan.cache_bytes;
  for (size_t i = 0; i < hosted.experts.size() && outcome; ++i)
    if (i % m.experts_per_layer >= m.config().experts)
      self->request(hosted.experts[i], caf::infinite, atom::load::value)
          .receive([](uint64_t) {}, note);
  // Their pages of the files would be counted as this process's.
  m.source->expect_single_rows();
  if (!outcome)
    return outcome;
  if (progress)
    progress(m.name, 0, total);
  if (hosted.keeper)
    self->request(hosted.keeper, caf::infinite, atom::load::value).receive([](uint64_t) {}, note);
  self->request(ram, caf::infinite, atom::load::value, hosted.model).receive([](uint64_t) {}, note);
  if (progress && outcome)
    progress(m.name, total, total);
  return outcome;
}

} // namespace coel::actors
