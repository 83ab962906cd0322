// The experts of a layer step: gate and up of all of them in one launch (of each type), SwiGLU with
// the quantisation of its result, down, and the weighted sum in the order of the tasks.
#include "gpu/plan.hpp"

#include <map>

namespace coel::gpu {

namespace {

const card_weight& on_card(const std::shared_ptr<const compute::weight>& w) {
  return static_cast<const card_weight&>(*w);
}

/// A task's rows inside the intermediate memory: rows [first, first + rows) of those of its width.
struct slot_range {
  const compute::expert_task* task = nullptr;
  uint32_t first = 0;      ///< among all slots
  uint32_t first_here = 0; ///< among those of its width
};

/// Tasks whose experts are equally wide share dense intermediate rows.
struct width_group {
  std::vector<slot_range> slots;
  uint32_t rows = 0;
  bool floats_wanted = false;    // by a down matrix of a float type
  bool quantised_wanted = false; // by the others
};

std::map<uint32_t, width_group> by_width(const compute::run_experts& op, uint32_t& total) {
  std::map<uint32_t, width_group> groups;
  total = 0;
  for (const auto& task : op.tasks) {
    if (task.rows.empty())
      continue;
    auto& g = groups[task.expert->gate->rows()];
    auto rows = static_cast<uint32_t>(task.rows.size());
    g.slots.push_back({&task, total, g.rows});
    g.rows += rows;
    total += rows;
    (is_quantised(task.expert->down->type()) ? g.quantised_wanted : g.floats_wanted) = true;
  }
  return groups;
}

matrix_task task_of(const card_weight& w, uint32_t count) {
  matrix_task t;
  t.weight = w.data();
  t.row_bytes = w.row_bytes();
  t.rows = w.rows();
  t.cols = w.cols();
  t.out_cols = w.rows();
  t.count = count;
  return t;
}

using tasks_by_type = std::array<std::vector<matrix_task>, dtype_count>;

} // namespace

void planner::combine(const compute::run_experts& op, const float* slots) {
  std::vector<std::vector<share>> of_row(op.out.rows);
  uint32_t slot = 0;
  for (const auto& task : op.tasks)
    for (size_t i = 0; i < task.rows.size(); ++i, ++slot) {
      share s;
      s.slot = slot;
      if (!task.weights.empty())
        s.weight = task.weights[i];
      else if (task.row_weights)
        s.factor = task.row_weights + task.rows[i];
      else
        s.weight = 1.f;
      of_row[task.rows[i]].push_back(s);
    }
  std::vector<share> shares;
  std::vector<uint32_t> first{0}, rows;
  for (uint32_t r = 0; r < op.out.rows; ++r) {
    if (of_row[r].empty())
      continue;
    shares.insert(shares.end(), of_row[r].begin(), of_row[r].end());
    first.push_back(static_cast<uint32_t>(shares.size()));
    rows.push_back(r);
  }
  auto count = static_cast<uint32_t>(rows.size());
  launch(kernel::combine, {(op.out.cols + row_threads - 1) / row_threads, count},
         combine_args{slots, table(shares), table(first), table(rows), op.out.data, count,
                      op.out.cols});
}

void planner::plan(const compute::run_experts& op) {
  uint32_t total = 0;
  auto groups = by_width(op, total);
  if (total == 0)
    return;
  bool any = std::any_of(op.tasks.begin(), op.tasks.end(), [](const auto& t) {
    return is_quantised(t.expert->gate->type()) || is_quantised(t.expert->up->type());
  });
  int8_rows x = any ? quantised(op.in) : int8_rows{};
  float* slots = scratch(uint64_t{total} * op.out.cols);
  tasks_by_type first, last;
  std::vector<swiglu_args> between;
  for (const auto& [width, g] : groups) {
    uint64_t values = uint64_t{g.rows} * width;
    float* gate = scratch(values);
    float* up = scratch(values);
    swiglu_args mid{gate, up, g.floats_wanted ? gate : nullptr, {}, g.rows, width};
    if (g.quantised_wanted)
      mid.quantised = int8_scratch(g.rows, width);
    between.push_back(mid);
    for (const auto& s : g.slots) {
      auto count = static_cast<uint32_t>(s.task->rows.size());
      const uint32_t* rows = table(s.task->rows);
      auto add = [&, columns = width](const card_weight& w, float* out) {
        auto t = task_of(w, count);
        t.x = op.in.data;
        t.quantised = x;
        t.x_rows = rows;
        t.out = out + uint64_t{s.first_here} * columns;
        first[static_cast<size_t>(w.type())].push_back(t);
      };
      add(on_card(s.task->expert->gate), gate);
      add(on_card(s.task->expert->up), up);
      const auto& down = on_card(s.task->expert->down);
      auto t = task_of(down, count);
      t.x = gate;
      t.quantised = mid.quantised;
      t.first_x = s.first_here;
      t.out = slots + uint64_t{s.first} * op.out.cols;
      last[static_cast<size_t>(down.type())].push_back(t);
    }
  }
  for (size_t type = 0; type < dtype_count; ++type)
    multiply(static_cast<dtype>(type), std::move(first[type]));
  for (const auto& mid : between) {
    uint64_t blocks = uint64_t{mid.rows} * ((mid.cols + 31) / 32);
    launch(kernel::swiglu, {static_cast<uint32_t>((blocks + row_warps - 1) / row_warps)}, mid);
  }
  for (size_t type = 0; type < dtype_count; ++type)
    multiply(static_cast<dtype>(type), std::move(last[type]));
  combine(op, slots);
}

} // namespace coel::gpu
