#include "cpu/device.hpp"

#include "cpu/check.hpp"
#include "cpu/kernel_sets.hpp"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace coel::cpu {

namespace {

constexpr uint32_t most_threads = 1024;

/// Blocks of shared memory for programs, kept for the next one.
class scratch_pool {
 public:
  /// Errors: out_of_memory.
  result<std::shared_ptr<block>> take(size_t bytes) {
    {
      std::lock_guard lock(mutex_);
      if (kept_ && kept_->size() >= bytes)
        return std::shared_ptr<block>(std::move(kept_));
    }
    auto made = block::make(bytes, "scratch");
    if (!made.ok())
      return made.err();
    return std::make_shared<block>(std::move(*made));
  }

  void give_back(std::shared_ptr<block> used) {
    std::lock_guard lock(mutex_);
    if (!kept_ || kept_->size() < used->size())
      kept_ = std::move(used);
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<block> kept_;
};

/// What outlives the device while its last programs drain.
struct shared_parts {
  const kernel_set& kernels;
  budget_ptr memory;
  rope_tables ropes;
  scratch_pool scratch;
};

/// A list with everything that its phases point into.
struct prepared {
  compute::command_list list;
  std::shared_ptr<shared_parts> parts;
};

class cpu_device : public compute::device, public compute::keeps_layout {
 public:
  cpu_device(uint32_t threads, bool pin, uint64_t budget_bytes, const kernel_set& kernels)
      : parts_(new shared_parts{kernels, std::make_shared<budget>(budget_bytes), {}, {}}),
        threads_(threads), workers_(threads, pin) {}

  result<compute::weight_ptr> load(const compute::matrix_view& matrix,
                                   compute::weight_use use) override {
    if (auto fine = compute::check(matrix); !fine.ok())
      return fine.err();
    if (use != compute::weight_use::lookup)
      return parts_->kernels.load(matrix, parts_->memory);
    auto made = view_weight::make(matrix, parts_->memory);
    if (!made.ok())
      return made.err();
    return compute::weight_ptr(*made);
  }

  const compute::kept_layout* layout() const override { return parts_->kernels.layout(); }

  result<compute::buffer_ptr> allocate(size_t bytes, compute::memory) override {
    auto memory = block::make(bytes, "buffer", parts_->memory);
    if (!memory.ok())
      return memory.err();
    return compute::buffer_ptr(std::make_shared<plain_buffer>(std::move(*memory)));
  }

  result<compute::kv_cache_ptr> make_kv_cache(const compute::kv_shape& shape) override {
    auto bytes = compute::kv_bytes(shape);
    if (!bytes.ok())
      return bytes.err();
    auto memory = block::make(*bytes, "kv cache", parts_->memory);
    if (!memory.ok())
      return memory.err();
    return compute::kv_cache_ptr(std::make_shared<paged_kv>(shape, std::move(*memory)));
  }

  void write(void* device_ptr, const void* host, size_t bytes) override {
    std::memcpy(device_ptr, host, bytes);
  }
  void read(void* host, const void* device_ptr, size_t bytes) override {
    std::memcpy(host, device_ptr, bytes);
  }

  void submit(compute::command_list list, compute::completion done) override {
    program work;
    std::shared_ptr<block> scratch;
    auto ready = prepare(std::move(list), work, scratch);
    workers_.submit(std::move(work),
                    [ready = std::move(ready), scratch = std::move(scratch), parts = parts_,
                     done = std::move(done)](const run_times& times) mutable {
                      if (scratch)
                        parts->scratch.give_back(std::move(scratch));
                      if (done)
                        done({ready, times.busy_us, times.queued_us});
                    });
  }

  compute::device_status status() const override {
    auto now = workers_.status();
    return {"cpu/" + std::string(parts_->kernels.name()),
            threads_,
            now.programs_run,
            now.busy_us,
            now.waiting,
            parts_->memory->used()};
  }

 private:
  /// Fills `work` with the list's phases, unless there is an error: then it stays empty, and takes
  /// its turn in the queue all the same.
  result<void> prepare(compute::command_list list, program& work, std::shared_ptr<block>& scratch) {
    if (auto fine = compute::check(list, made_here(parts_->kernels)); !fine.ok())
      return fine;
    auto kept = std::make_shared<const prepared>(prepared{std::move(list), parts_});
    planner plans(threads_, parts_->ropes);
    for (const auto& op : kept->list) {
      plans.begin_operation();
      std::visit([&](const auto& x) { add_plan(plans, x); }, op);
    }
    if (plans.scratch_bytes() > 0) {
      auto taken = parts_->scratch.take(plans.scratch_bytes());
      if (!taken.ok())
        return taken.err();
      scratch = *taken;
      work.scratch = scratch->data();
    }
    work.phases = plans.take_phases();
    work.keeps = std::move(kept);
    return {};
  }

  template <class Op>
  void add_plan(planner& plans, const Op& op) {
    if constexpr (std::is_same_v<Op, compute::run_chosen>)
      return; // refused by its check
    else if constexpr (requires { parts_->kernels.plan(plans, op); })
      parts_->kernels.plan(plans, op);
    else
      plan(plans, op);
  }

  std::shared_ptr<shared_parts> parts_;
  uint32_t threads_;
  executor workers_; // last: it drains while the rest still lives
};

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names)
    text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

const kernel_set* find_kernels(const std::string& wanted) {
  for (const kernel_set* set : usable_sets())
    if (wanted.empty() || set->name() == wanted)
      return set;
  return nullptr;
}

} // namespace

std::vector<std::string> usable_kernels() {
  std::vector<std::string> names;
  for (const kernel_set* set : usable_sets())
    names.emplace_back(set->name());
  return names;
}

result<compute::device_ptr> make_device(const device_options& options) {
  std::string wanted = options.kernels;
  if (const char* forced = std::getenv("COEL_CPU"); wanted.empty() && forced)
    wanted = forced;
  const kernel_set* kernels = find_kernels(wanted);
  if (!kernels)
    return {ec::bad_argument,
            "kernels: this machine cannot run '" + wanted + "'; usable: " + join(usable_kernels())};
  if (options.threads > most_threads)
    return {ec::bad_argument, "threads: at most " + std::to_string(most_threads)};
  uint32_t threads = options.threads ? options.threads : usable_cores();
  return compute::device_ptr(
      std::make_shared<cpu_device>(threads, options.pin_threads, options.budget_bytes, *kernels));
}

} // namespace coel::cpu
