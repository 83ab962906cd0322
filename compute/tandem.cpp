#include "compute/tandem.hpp"

#include "compute/check.hpp"
#include "compute/tandem_copier.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <mutex>
#include <numeric>
#include <utility>

namespace coel::compute {

namespace {

using steady = std::chrono::steady_clock;

uint64_t us_since(steady::time_point start) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(steady::now() - start).count());
}

class far_weight : public weight {
 public:
  far_weight(weight_ptr inner, const matrix_view& from, const void* owner)
      : inner_(std::move(inner)), from_(from), owner_(owner) {
    if (!from_.owner)
      from_.data = nullptr; // the caller's, and gone
  }
  dtype type() const override { return inner_->type(); }
  uint32_t rows() const override { return inner_->rows(); }
  uint32_t cols() const override { return inner_->cols(); }
  size_t resident_bytes() const override { return inner_->resident_bytes(); }

  const weight_ptr& inner() const { return inner_; }
  const matrix_view& from() const { return from_; }
  bool readable() const { return from_.data != nullptr; }
  const void* owner() const { return owner_; } ///< only compared

 private:
  weight_ptr inner_;
  matrix_view from_;
  const void* owner_;
};

const far_weight* far_of(const std::shared_ptr<const weight>& w) {
  return dynamic_cast<const far_weight*>(w.get());
}
/// Of this tandem's: the near one may be another, with far experts of its own.
bool lies_far(const std::shared_ptr<const expert_weights>& e, const void* owner) {
  const auto* gate = e ? far_of(e->gate) : nullptr;
  return gate && gate->owner() == owner;
}
bool splits(const operation& op, const void* owner) {
  const auto* run = std::get_if<run_experts>(&op);
  return run && std::any_of(run->tasks.begin(), run->tasks.end(),
                            [&](const auto& t) { return lies_far(t.expert, owner); });
}

class far_made : public ownership {
 public:
  explicit far_made(const void* owner) : owner_(owner) {}
  bool projects(const weight& w) const override {
    const auto* f = dynamic_cast<const far_weight*>(&w);
    return f && f->owner() == owner_;
  }
  bool looks_up(const weight&) const override { return false; }
  bool caches(const kv_cache&) const override { return false; }

 private:
  const void* owner_;
};

/// Of two of a kind each runs lists of its own, whose tables are taken when they come: experts
/// leave that much of a memory, or of a small one a part.
bool has_room(const device& on, const expert_views& expert) {
  constexpr uint64_t tables = uint64_t{66} << 20;
  auto own = on.status().own_memory;
  if (!own)
    return true;
  auto bytes = expert.gate.bytes() + expert.up.bytes() + expert.down.bytes();
  return own->first_used_bytes + bytes + std::min(tables, own->first_budget_bytes / 16) <=
         own->first_budget_bytes;
}

/// The same expert as the far device knows it.
std::shared_ptr<const expert_weights> unwrapped(const expert_weights& e) {
  auto made = std::make_shared<expert_weights>();
  made->gate = far_of(e.gate)->inner();
  made->up = far_of(e.up)->inner();
  made->down = far_of(e.down)->inner();
  made->bytes = e.bytes;
  return made;
}

uint64_t rows_of(const std::vector<expert_task>& tasks) {
  return std::accumulate(tasks.begin(), tasks.end(), uint64_t{0},
                         [](uint64_t n, const expert_task& t) { return n + t.rows.size(); });
}
uint64_t bytes_of(const expert_weights& e) {
  uint64_t bytes = 0;
  for (const auto* w : {&e.gate, &e.up, &e.down})
    bytes += (*w)->rows() * row_bytes((*w)->type(), (*w)->cols());
  return bytes;
}
uint64_t bytes_of(const std::vector<expert_task>& tasks) {
  return std::accumulate(tasks.begin(), tasks.end(), uint64_t{0},
                         [](uint64_t n, const expert_task& t) { return n + bytes_of(*t.expert); });
}

far_use use_of(const expert_task& t) {
  const auto& e = *t.expert;
  bool readable =
      far_of(e.gate)->readable() && far_of(e.up)->readable() && far_of(e.down)->readable();
  return {bytes_of(e), static_cast<uint32_t>(t.rows.size()), readable};
}

struct waiting_list {
  command_list list;
  completion done;
  steady::time_point since;
};

/// A list that is cut. One is under way at a time; what `core` guards guards it too.
struct split {
  waiting_list whole;
  size_t next = 0; ///< operation
  result<void> outcome;
  uint64_t busy_us = 0;
  // of the operation under way:
  run_experts op;                           ///< without its tasks
  std::vector<expert_task> beside, to_copy; ///< far ones, by where they run
  std::vector<expert_task> left;            ///< that could not be copied
  const float* factors = nullptr;           ///< of `op`'s tasks without weights, on the near side
  uint32_t parts_due = 0;
  uint64_t near_us = 0, beside_us = 0;
};
using split_ptr = std::shared_ptr<split>;

/// Memory that both devices see.
struct shared_rows {
  buffer_ptr in, sum, factors;
};

struct counters {
  std::atomic<uint64_t> lists{0}, beside_us{0}, beside_experts{0}, moved_bytes{0}, copied{0};
};

/// All that lists in flight need, which may be longer than the device is.
struct core : std::enable_shared_from_this<core> {
  device_ptr near, far;
  copy_choice choose;
  std::shared_ptr<tandem_observer> observer;
  counters counted;

  std::mutex mutex; // guards what follows
  std::deque<waiting_list> waiting;
  split_ptr active;
  shared_rows host;

  std::unique_ptr<tandem_copier> copier; // where there is a choice; ends first

  void submit(waiting_list fresh) {
    std::lock_guard lock(mutex);
    waiting.push_back(std::move(fresh));
    advance();
  }

  /// Everything up to the next list that is cut goes to the near device. Locked, as all below.
  void advance() {
    while (!active && !waiting.empty()) {
      auto fresh = std::move(waiting.front());
      waiting.pop_front();
      if (std::none_of(fresh.list.begin(), fresh.list.end(),
                       [this](const auto& op) { return splits(op, this); })) {
        near->submit(std::move(fresh.list), std::move(fresh.done));
        continue;
      }
      active = std::make_shared<split>();
      active->whole = std::move(fresh);
      ++counted.lists;
      go_on(active, {});
    }
  }

  /// Runs what comes before the next operation that is cut, behind `ops`.
  void go_on(const split_ptr& s, command_list ops) {
    auto& list = s->whole.list;
    while (s->next < list.size() && !splits(list[s->next], this))
      ops.push_back(std::move(list[s->next++]));
    if (s->next == list.size())
      return finish(s, std::move(ops));
    auto op = std::move(std::get<run_experts>(list[s->next++]));
    if (auto fine = cut(*s, op, ops); !fine) {
      s->outcome = fine;
      return finish(s, {});
    }
    near->submit(std::move(ops), [me = shared_from_this(), s](const completion_info& info) {
      me->rows_are_there(s, info);
    });
    if (!op.tasks.empty())
      run_near(s, std::move(op));
  }

  /// Leaves the near tasks in `op`, and adds to `ops` what brings rows to the host.
  result<void> cut(split& s, run_experts& op, command_list& ops) {
    auto far_ones =
        std::stable_partition(op.tasks.begin(), op.tasks.end(),
                              [this](const expert_task& t) { return !lies_far(t.expert, this); });
    command_list far_part(1, run_experts{op.in, {}, op.out});
    auto& far_tasks = std::get<run_experts>(far_part.front()).tasks;
    far_tasks.assign(std::make_move_iterator(far_ones), std::make_move_iterator(op.tasks.end()));
    op.tasks.erase(far_ones, op.tasks.end());
    if (auto fine = check(far_part, far_made(this)); !fine)
      return fine;
    s.beside = std::move(far_tasks);
    s.to_copy.clear();
    s.left.clear();
    s.near_us = s.beside_us = 0;
    s.op = run_experts{op.in, {}, op.out};
    if (auto ok = make_room(op.in); !ok)
      return ok;
    std::vector<uint32_t> all(op.in.rows);
    std::iota(all.begin(), all.end(), 0u);
    s.factors = nullptr;
    for (const auto& t : s.beside)
      if (t.weights.empty() && t.row_weights) {
        if (s.factors && s.factors != t.row_weights)
          return {ec::unsupported, "run_experts: tasks with unlike row weights lie far"};
        s.factors = t.row_weights;
      }
    if (s.factors)
      ops.push_back(gather{{const_cast<float*>(s.factors), op.in.rows, 1},
                           all,
                           {host.factors->f32(), op.in.rows, 1}});
    ops.push_back(gather{op.in, std::move(all), {host.in->f32(), op.in.rows, op.in.cols}});
    choose_copies(s);
    counted.moved_bytes += 2 * size_t{op.in.rows} * op.in.cols * sizeof(float);
    return {};
  }

  void choose_copies(split& s) {
    if (!choose)
      return;
    std::vector<far_use> uses;
    for (const auto& t : s.beside)
      uses.push_back(use_of(t));
    auto chosen = choose(uses);
    std::sort(chosen.begin(), chosen.end());
    std::vector<expert_task> stay;
    for (uint32_t i = 0; i < s.beside.size(); ++i)
      (std::binary_search(chosen.begin(), chosen.end(), i) && uses[i].copyable ? s.to_copy : stay)
          .push_back(std::move(s.beside[i]));
    s.beside = std::move(stay);
  }

  /// Errors: out_of_memory, device_lost.
  result<void> make_room(const rows_f32& rows) {
    size_t bytes = size_t{rows.rows} * rows.cols * sizeof(float);
    if (!host.in || host.in->size_bytes() < bytes)
      for (auto* b : {&host.in, &host.sum})
        if (auto ok = grow(*b, bytes + bytes / 2); !ok)
          return ok;
    if (!host.factors || host.factors->size_bytes() < rows.rows * sizeof(float))
      return grow(host.factors, rows.rows * 2 * sizeof(float));
    return {};
  }
  /// The near device may still be reading the old one for the list before.
  result<void> grow(buffer_ptr& b, size_t bytes) {
    auto made = near->allocate(bytes, memory::host_visible);
    if (!made)
      return made.err();
    if (b)
      near->submit({}, [old = b](const completion_info&) {});
    b = std::move(*made);
    return {};
  }

  void run_near(const split_ptr& s, run_experts op) {
    command_list list;
    list.push_back(std::move(op));
    near->submit(std::move(list), [me = shared_from_this(), s](const completion_info& info) {
      std::lock_guard lock(me->mutex);
      s->near_us += info.busy_us;
      note(*s, info.outcome);
    });
  }

  static void note(split& s, const result<void>& outcome) {
    if (s.outcome && !outcome)
      s.outcome = outcome;
  }

  rows_f32 host_in(const split& s) const { return {host.in->f32(), s.op.in.rows, s.op.in.cols}; }
  rows_f32 host_sum(const split& s) const { return {host.sum->f32(), s.op.in.rows, s.op.in.cols}; }

  /// The near device has passed all that was before: nobody else uses the shared memory.
  void rows_are_there(const split_ptr& s, const completion_info& info) {
    rows_f32 sum;
    {
      std::lock_guard lock(mutex);
      sum = host_sum(*s);
    }
    if (info.outcome)
      std::memset(sum.data, 0, size_t{sum.rows} * sum.cols * sizeof(float));
    std::lock_guard lock(mutex);
    s->busy_us += info.busy_us;
    note(*s, info.outcome);
    if (!s->outcome) {
      finish(s, {});
      return advance();
    }
    s->parts_due = !s->beside.empty() + !s->to_copy.empty();
    if (!s->to_copy.empty())
      copier->post([me = shared_from_this(), s] { me->copy_over(s); });
    if (!s->beside.empty())
      run_beside(s, std::exchange(s->beside, {}));
  }

  void run_beside(const split_ptr& s, std::vector<expert_task> tasks) {
    auto experts = static_cast<uint32_t>(tasks.size());
    auto rows = rows_of(tasks), bytes = bytes_of(tasks);
    for (auto& t : tasks) {
      t.expert = unwrapped(*t.expert);
      if (t.weights.empty() && t.row_weights)
        t.row_weights = host.factors->f32();
    }
    command_list list;
    list.push_back(run_experts{host_in(*s), std::move(tasks), host_sum(*s)});
    far->submit(std::move(list), [=, me = shared_from_this()](const completion_info& info) {
      if (me->observer && info.outcome)
        me->observer->ran_far(bytes, rows, experts, info.busy_us);
      me->counted.beside_us += info.busy_us;
      me->counted.beside_experts += experts;
      std::lock_guard lock(me->mutex);
      s->beside_us += info.busy_us;
      note(*s, info.outcome);
      me->part_done(s);
    });
  }

  void part_done(const split_ptr& s) {
    if (--s->parts_due > 0)
      return;
    if (s->outcome && !s->left.empty()) {
      s->parts_due = 1;
      return run_beside(s, std::exchange(s->left, {}));
    }
    s->busy_us += std::max(s->near_us, s->beside_us);
    command_list rest;
    if (s->outcome) {
      rest.push_back(add{host_sum(*s), s->op.out});
      go_on(s, std::move(rest));
    } else {
      finish(s, {});
    }
    advance();
  }

  result<std::shared_ptr<const expert_weights>> bring(const expert_weights& e) {
    return near->load_expert({far_of(e.gate)->from(), far_of(e.up)->from(), far_of(e.down)->from()},
                             weight_use::project);
  }

  /// On the copier's thread; in order, each run as soon as it is there.
  void copy_over(const split_ptr& s) {
    bool full = false;
    for (auto& t : s->to_copy) {
      auto began = steady::now();
      auto there = full ? result<std::shared_ptr<const expert_weights>>(ec::out_of_memory, "")
                        : bring(*t.expert);
      if (!there) {
        full = true; // or lost, which its next list tells
        s->left.push_back(std::move(t));
        continue;
      }
      if (observer)
        observer->brought(bytes_of(*t.expert), us_since(began));
      ++counted.copied;
      t.expert = *there;
      std::lock_guard lock(mutex);
      run_near(s, run_experts{s->op.in, {std::move(t)}, s->op.out});
    }
    std::lock_guard lock(mutex);
    s->to_copy.clear();
    part_done(s);
  }

  /// The rest of a list: nothing of it is cut any more.
  void finish(const split_ptr& s, command_list ops) {
    near->submit(std::move(ops), [me = shared_from_this(), s](const completion_info& last) {
      auto info = last;
      {
        std::lock_guard lock(me->mutex);
        note(*s, info.outcome);
        info.outcome = s->outcome;
        info.busy_us += s->busy_us;
      }
      auto all = us_since(s->whole.since);
      info.queued_us = all > info.busy_us ? all - info.busy_us : 0;
      s->whole.list.clear();
      if (auto done = std::move(s->whole.done))
        done(info);
    });
    active = nullptr;
  }
};

class tandem : public device {
 public:
  explicit tandem(tandem_options o) : core_(std::make_shared<core>()) {
    core_->near = std::move(o.near);
    core_->far = std::move(o.far);
    core_->choose = std::move(o.choose);
    core_->observer = std::move(o.observer);
    share_ = o.share_experts;
    if (core_->choose)
      core_->copier = std::make_unique<tandem_copier>();
  }

  result<weight_ptr> load(const matrix_view& matrix, weight_use use) override {
    if (use != weight_use::far_expert)
      return load_near(matrix, use);
    auto inner = core_->far->load(matrix, weight_use::project);
    if (!inner)
      return inner.err();
    return weight_ptr(std::make_shared<far_weight>(*inner, matrix, core_.get()));
  }
  result<std::shared_ptr<const expert_weights>> load_expert(const expert_views& from,
                                                            weight_use use) override {
    if (use == weight_use::far_expert)
      return device::load_expert(from, use);
    auto began = steady::now();
    auto there = share_ && !has_room(*core_->near, from)
                     ? result<std::shared_ptr<const expert_weights>>(ec::out_of_memory, "full")
                     : core_->near->load_expert(from, use);
    if (!there && there.err().code == ec::out_of_memory && share_)
      there = load_far(from);
    if (there && core_->observer)
      core_->observer->brought(from.gate.bytes() + from.up.bytes() + from.down.bytes(),
                               us_since(began));
    return there;
  }
  result<buffer_ptr> allocate(size_t bytes, memory where) override {
    return core_->near->allocate(bytes, where);
  }
  result<kv_cache_ptr> make_kv_cache(const kv_shape& shape) override {
    return core_->near->make_kv_cache(shape);
  }
  void write(void* device_ptr, const void* host, size_t bytes) override {
    core_->near->write(device_ptr, host, bytes);
  }
  void read(void* host, const void* device_ptr, size_t bytes) override {
    core_->near->read(host, device_ptr, bytes);
  }
  void submit(command_list list, completion done) override {
    core_->submit({std::move(list), std::move(done), steady::now()});
  }
  result<void> reserve(size_t bytes) override {
    if (auto ok = core_->near->reserve(bytes); !ok || !share_)
      return ok;
    return core_->far->reserve(bytes); // lists of its experts
  }
  uint32_t most_chosen_rows(const expert_table& experts) const override {
    bool near = std::none_of(experts.begin(), experts.end(),
                             [this](const auto& e) { return !e || lies_far(e, core_.get()); });
    return near ? core_->near->most_chosen_rows(experts) : 0;
  }
  device_ptr spare() const override { return share_ ? nullptr : core_->far; }

  device_status status() const override {
    auto s = core_->near->status(), beside = core_->far->status();
    const auto& n = core_->counted;
    {
      std::lock_guard lock(core_->mutex);
      s.queue_depth += static_cast<uint32_t>(core_->waiting.size());
    }
    if (s.own_memory) {
      auto& own = *s.own_memory;
      own.split_lists = n.lists;
      own.beside_us = n.beside_us;
      own.beside_experts = n.beside_experts;
      own.moved_bytes = n.moved_bytes;
      own.copied_experts = n.copied;
    }
    s.name += " + " + beside.name;
    s.threads = beside.threads;
    s.resident_bytes += beside.resident_bytes;
    if (share_ && s.own_memory && beside.own_memory)
      add(*s.own_memory, *beside.own_memory);
    return s;
  }

 private:
  static void add(own_memory_status& to, const own_memory_status& more) {
    to.name += " + " + more.name;
    to.budget_bytes += more.budget_bytes;
    to.used_bytes += more.used_bytes;
    to.busy_us = std::max(to.busy_us, more.busy_us);
    to.loaded_bytes += more.loaded_bytes;
    to.load_us += more.load_us;
    to.bus_us += more.bus_us;
    to.lost |= more.lost;
  }

  /// As the far device's own, wrapped.
  result<std::shared_ptr<const expert_weights>> load_far(const expert_views& from) {
    if (!dynamic_cast<const tandem*>(core_->far.get()) && !has_room(*core_->far, from))
      return {ec::out_of_memory, "no card has room for the expert"};
    auto inner = core_->far->load_expert(from, weight_use::project);
    if (!inner)
      return inner;
    auto wrap = [&](const std::shared_ptr<const weight>& w, const matrix_view& view) {
      return std::make_shared<far_weight>(w, view, core_.get());
    };
    auto made = std::make_shared<expert_weights>();
    made->gate = wrap((*inner)->gate, from.gate);
    made->up = wrap((*inner)->up, from.up);
    made->down = wrap((*inner)->down, from.down);
    made->bytes = (*inner)->bytes;
    return std::shared_ptr<const expert_weights>(std::move(made));
  }

  result<weight_ptr> load_near(const matrix_view& matrix, weight_use use) {
    auto began = steady::now();
    auto there = core_->near->load(matrix, use);
    if (there && core_->observer)
      core_->observer->brought(matrix.bytes(), us_since(began));
    return there;
  }

  std::shared_ptr<core> core_;
  bool share_ = false;
};

} // namespace

device_ptr make_tandem(tandem_options options) {
  return std::make_shared<tandem>(std::move(options));
}

} // namespace coel::compute
