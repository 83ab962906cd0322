#include "gpu/device.hpp"

#include "compute/check.hpp"
#include "gpu/angles.hpp"
#include "gpu/completions.hpp"
#include "gpu/graphs.hpp"
#include "gpu/loading.hpp"
#include "gpu/plan.hpp"

#include <cstring>
#include <optional>

namespace coel::gpu {

namespace {

/// What a list needs while it runs: its tables on both sides, and marks around it.
struct list_slot {
  block host, on_card;
  mark_ptr begin, end;
};

class made_here : public compute::ownership {
 public:
  explicit made_here(const memory_pool* pool) : pool_(pool) {}
  bool projects(const compute::weight& w) const override {
    return is(w, compute::weight_use::project);
  }
  bool looks_up(const compute::weight& w) const override {
    return is(w, compute::weight_use::lookup);
  }
  bool caches(const compute::kv_cache& cache) const override {
    const auto* c = dynamic_cast<const card_kv*>(&cache);
    return c && c->owner() == pool_;
  }
  bool runs_chosen() const override { return true; }

 private:
  bool is(const compute::weight& w, compute::weight_use use) const {
    const auto* c = dynamic_cast<const card_weight*>(&w);
    return c && c->owner() == pool_ && c->use() == use;
  }
  const memory_pool* pool_;
};

/// All that lists in flight need, which may be longer than the device is.
struct core {
  card_ptr on;
  std::shared_ptr<memory_pool> memory;
  angle_tables angles;
  loader loading;

  std::mutex submitting; // guards what follows
  std::shared_ptr<block> scratch;
  std::vector<std::unique_ptr<list_slot>> idle;
  std::unique_ptr<graph_cache> graphs; // null: every step is launched by itself

  mutable std::mutex loss_mutex;
  std::optional<error> loss;

  core(card_ptr c, uint64_t budget, bool with_graphs)
      : on(c), memory(std::make_shared<memory_pool>(c, budget)), angles(memory), loading(memory),
        graphs(with_graphs ? std::make_unique<graph_cache>(c) : nullptr) {}

  void lost(const error& why) {
    std::lock_guard lock(loss_mutex);
    if (!loss)
      loss = why;
  }
  result<void> alive() const {
    std::lock_guard lock(loss_mutex);
    return loss ? result<void>(*loss) : result<void>();
  }
  /// Remembers a lost card.
  template <class T>
  T noted(T outcome) {
    if (!outcome.ok() && outcome.err().code == ec::device_lost)
      lost(outcome.err());
    return outcome;
  }

  result<std::unique_ptr<list_slot>> take_slot() {
    if (!idle.empty()) {
      auto found = std::move(idle.back());
      idle.pop_back();
      return found;
    }
    auto made = std::make_unique<list_slot>();
    for (auto* m : {&made->begin, &made->end}) {
      auto one = on->make_mark();
      if (!one)
        return one.err();
      *m = std::move(*one);
    }
    return made;
  }
  void give_back(std::unique_ptr<list_slot> slot) {
    std::lock_guard lock(submitting);
    idle.push_back(std::move(slot));
  }

  result<void> grow(list_slot& slot, uint64_t bytes) {
    if (slot.on_card.size() >= bytes)
      return {};
    uint64_t size = std::max<uint64_t>(2 * bytes, 64 << 10);
    auto host = memory->make_host(size, "tables");
    if (!host)
      return host.err();
    auto there = memory->make(size, "tables");
    if (!there)
      return there.err();
    slot.host = std::move(*host);
    slot.on_card = std::move(*there);
    return {};
  }

  /// Lists in flight keep the old one.
  result<void> grow_scratch(uint64_t bytes) {
    if (scratch && scratch->size() >= bytes)
      return {};
    auto made = memory->make(bytes, "scratch");
    if (!made)
      return made.err();
    scratch = std::make_shared<block>(std::move(*made));
    return {};
  }

  plan_context context(const list_slot& slot) {
    return {{slot.on_card.data(), slot.on_card.size()},
            {scratch ? scratch->data() : nullptr, scratch ? scratch->size() : 0},
            on->info().multiprocessors,
            [this](const auto& params, uint32_t position) { return angles.at(params, position); },
            [this](const void* p) { return memory->is_host(p); }};
  }

  /// Plans until what the plan needs is there: at most twice.
  result<std::vector<step>> plan(const compute::command_list& list, list_slot& slot) {
    for (;;) {
      auto where = context(slot);
      planner plans(where);
      if (auto ok = plans.plan(list); !ok)
        return ok.err();
      if (plans.fits()) {
        if (plans.table_bytes())
          std::memcpy(slot.host.data(), plans.tables().data(), plans.table_bytes());
        auto steps = plans.take_steps();
        if (plans.table_bytes() && !steps.empty()) {
          step tables;
          tables.to = slot.on_card.data();
          tables.from = slot.host.data();
          tables.bytes = plans.table_bytes();
          steps.insert(steps.begin(), tables);
        }
        return steps;
      }
      if (auto ok = grow(slot, plans.table_bytes()); !ok)
        return ok.err();
      auto wanted = plans.scratch_bytes();
      if (auto ok = grow_scratch(wanted + wanted / 4); !ok) // fewer steps of growth
        if (ok = grow_scratch(wanted); !ok)
          return ok.err();
    }
  }

  result<void> copy_and_wait(void* to, const void* from, size_t bytes) {
    auto done = on->make_mark();
    if (!done)
      return done.err();
    if (auto ok = on->copy(lane::transfer, to, from, bytes); !ok)
      return ok;
    if (auto ok = on->set(**done, lane::transfer); !ok)
      return ok;
    return on->wait(**done);
  }

  /// `kept`: what has to live until all is through.
  result<void> start(const std::vector<step>& steps, list_slot& slot, graph_ptr& kept) {
    auto known = graphs ? graphs->find(steps) : result<graph_ptr>(graph_ptr());
    if (!known)
      return known.err();
    kept = *known;
    auto outcome = on->set(*slot.begin, lane::compute);
    if (kept && outcome) {
      outcome = on->start(lane::compute, *kept);
      auto over = on->set(*slot.end, lane::compute);
      return outcome ? over : outcome;
    }
    for (size_t i = 0; i < steps.size() && outcome; ++i) {
      const auto& s = steps[i];
      outcome = s.bytes ? on->copy(lane::compute, s.to, s.from, s.bytes)
                        : on->launch(lane::compute, s.what, s.blocks, s.args.data());
    }
    auto ended = on->set(*slot.end, lane::compute); // what was begun is waited for all the same
    return outcome ? ended : outcome;
  }
};

/// Keeps a slot, and gives it back when the list is through.
struct list_keep {
  std::shared_ptr<core> owner;
  compute::command_list list;
  std::unique_ptr<list_slot> slot;
  std::shared_ptr<block> scratch;
  graph_ptr graph;
  ~list_keep() {
    if (slot)
      owner->give_back(std::move(slot));
  }
};

class gpu_device : public compute::device {
 public:
  gpu_device(card_ptr on, uint64_t budget, bool graphs)
      : core_(std::make_shared<core>(on, budget, graphs)),
        through_(on, [c = core_](const error& why) { c->lost(why); }) {}

  result<compute::weight_ptr> load(const compute::matrix_view& matrix,
                                   compute::weight_use use) override {
    if (auto fine = compute::check(matrix); !fine)
      return fine.err();
    if (auto fine = core_->alive(); !fine)
      return fine.err();
    return core_->noted(core_->loading.load(matrix, use));
  }

  result<compute::buffer_ptr> allocate(size_t bytes, compute::memory where) override {
    auto memory =
        core_->noted(where == compute::memory::device ? core_->memory->make(bytes, "buffer")
                                                      : core_->memory->make_host(bytes, "buffer"));
    if (!memory)
      return memory.err();
    return compute::buffer_ptr(std::make_shared<card_buffer>(std::move(*memory)));
  }

  result<compute::kv_cache_ptr> make_kv_cache(const compute::kv_shape& shape) override {
    auto bytes = compute::kv_bytes(shape);
    if (!bytes)
      return bytes.err();
    if (shape.head_dim > most_head_dim)
      return {ec::unsupported, "kv cache: heads of more than " + std::to_string(most_head_dim) +
                                   " do not run on a GPU yet: leave out --gpu"};
    auto memory = core_->noted(core_->memory->make(*bytes, "kv cache"));
    if (!memory)
      return memory.err();
    return compute::kv_cache_ptr(
        std::make_shared<card_kv>(shape, std::move(*memory), core_->memory.get()));
  }

  uint32_t most_chosen_rows(const compute::expert_table& experts) const override {
    return chosen_rows(experts);
  }

  void write(void* device_ptr, const void* host, size_t bytes) override {
    copy_now(device_ptr, host, bytes, device_ptr);
  }
  void read(void* host, const void* device_ptr, size_t bytes) override {
    if (!copy_now(host, device_ptr, bytes, device_ptr))
      std::memset(host, 0, bytes); // lists fail from now on
  }

  void submit(compute::command_list list, compute::completion done) override {
    auto keep = std::make_shared<list_keep>();
    keep->owner = core_;
    keep->list = std::move(list);
    submitted s;
    s.done = std::move(done);
    s.since = std::chrono::steady_clock::now();
    std::lock_guard lock(core_->submitting);
    s.outcome = core_->noted(begin(*keep, s));
    s.keeps = std::move(keep);
    through_.push(std::move(s));
  }

  compute::device_status status() const override {
    auto totals = through_.totals();
    const auto& about = core_->on->info();
    auto loaded = core_->loading.totals();
    compute::own_memory_status own;
    own.name = "gpu/" + about.name;
    own.budget_bytes = core_->memory->budget();
    own.used_bytes = core_->memory->used();
    own.first_budget_bytes = own.budget_bytes;
    own.first_used_bytes = own.used_bytes;
    own.busy_us = totals.busy_us;
    own.loaded_bytes = loaded.bytes;
    own.load_us = loaded.us;
    own.bus_us = loaded.bus_us;
    own.lost = !core_->alive();
    return {own.name,       about.multiprocessors, totals.lists, totals.busy_us,
            totals.waiting, own.used_bytes,        own};
  }

  result<void> reserve(size_t bytes) override {
    std::lock_guard lock(core_->submitting);
    return core_->noted(core_->grow_scratch(bytes));
  }

 private:
  result<void> begin(list_keep& keep, submitted& s) {
    if (auto fine = core_->alive(); !fine)
      return fine;
    if (auto fine = compute::check(keep.list, made_here(core_->memory.get())); !fine)
      return fine;
    auto slot = core_->take_slot();
    if (!slot)
      return slot.err();
    keep.slot = std::move(*slot);
    auto steps = core_->plan(keep.list, *keep.slot);
    if (!steps)
      return steps.err();
    keep.scratch = core_->scratch;
    if (steps->empty())
      return {};
    s.begin = keep.slot->begin.get();
    s.end = keep.slot->end.get();
    return core_->start(*steps, *keep.slot, keep.graph);
  }

  bool copy_now(void* to, const void* from, size_t bytes, const void* of_device) {
    if (core_->memory->is_host(of_device)) {
      std::memcpy(to, from, bytes);
      return true;
    }
    if (bytes == 0)
      return true;
    return core_->noted(core_->copy_and_wait(to, from, bytes)).ok();
  }

  std::shared_ptr<core> core_;
  completions through_; // last: it drains while the rest still lives
};

} // namespace

compute::device_ptr make_device(card_ptr card, uint64_t budget_bytes, bool graphs) {
  return std::make_shared<gpu_device>(std::move(card), budget_bytes, graphs);
}

} // namespace coel::gpu
