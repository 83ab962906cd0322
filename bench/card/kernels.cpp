#include "bench/card/kernels.hpp"

#include "model/random_model_rows.hpp"

#include <algorithm>
#include <future>
#include <numeric>

namespace coel::bench {

namespace {

constexpr uint32_t hidden = 2048, ff = 1408, heads = 16, head_dim = 128;
constexpr int repetitions = 7;

compute::matrix_view random_matrix(dtype type, uint64_t rows, uint64_t cols) {
  auto bytes = std::make_shared<std::vector<std::byte>>(rows * row_bytes(type, cols));
  model::random_bits random(rows + cols);
  model::draw_row(type, random, 0.02f, bytes->data(), rows * cols);
  return {type, rows, cols, bytes->data(), row_bytes(type, cols), bytes};
}

result<compute::buffer_ptr> random_rows(compute::device& on, uint64_t values) {
  auto memory = on.allocate(values * sizeof(float));
  if (!memory)
    return memory;
  std::vector<float> drawn(values);
  model::random_bits random(values);
  model::draw_gaussian(random, drawn.data(), drawn.size());
  on.write((*memory)->data(), drawn.data(), values * sizeof(float));
  return memory;
}

/// Microseconds of one operation: the median of lists of them, after one that does not count.
result<double> time_list(compute::device& on, const compute::command_list& list) {
  std::vector<double> all;
  for (int i = -1; i < repetitions; ++i) {
    std::promise<compute::completion_info> done;
    on.submit(list, [&](const compute::completion_info& info) { done.set_value(info); });
    auto info = done.get_future().get();
    if (!info.outcome)
      return info.outcome.err();
    if (i >= 0)
      all.push_back(static_cast<double>(info.busy_us) / static_cast<double>(list.size()));
  }
  std::nth_element(all.begin(), all.begin() + repetitions / 2, all.end());
  return all[repetitions / 2];
}

std::string name_of(dtype type) {
  return std::string(to_string(type));
}

} // namespace

result<std::vector<kernel_time>> time_projections(compute::device& on, dtype type) {
  // 64 matrices of an attention projection: more than the caches hold
  constexpr uint32_t matrices = 64;
  auto view = random_matrix(type, hidden, hidden);
  std::vector<compute::weight_ptr> weights;
  for (uint32_t i = 0; i < matrices; ++i) {
    auto w = on.load(view, compute::weight_use::project);
    if (!w)
      return w.err();
    weights.push_back(*w);
  }
  std::vector<kernel_time> times;
  for (uint32_t rows : {1u, 4u, 16u, 64u, 512u}) {
    auto in = random_rows(on, uint64_t{rows} * hidden);
    auto out = on.allocate(size_t{rows} * 3 * hidden * sizeof(float));
    if (!in || !out)
      return in ? out.err() : in.err();
    compute::command_list list;
    for (uint32_t i = 0; i + 3 <= matrices; i += 3) { // as q, k and v
      compute::project op{{(*in)->f32(), rows, hidden}, {}};
      for (uint32_t p = 0; p < 3; ++p)
        op.outputs.push_back({weights[i + p].get(),
                              nullptr,
                              {(*out)->f32() + size_t{p} * rows * hidden, rows, hidden},
                              false});
      list.push_back(std::move(op));
    }
    auto us = time_list(on, list);
    if (!us)
      return us.err();
    times.push_back({"project " + name_of(type) + " x" + std::to_string(rows), *us,
                     3. * static_cast<double>(view.bytes()), 3. * rows * hidden * hidden});
  }
  return times;
}

result<std::vector<kernel_time>> time_experts(compute::device& on, dtype type) {
  constexpr uint32_t experts = 60, chosen = 4, shared = 4;
  auto gate = random_matrix(type, ff, hidden), down = random_matrix(type, hidden, ff);
  std::vector<std::shared_ptr<const compute::expert_weights>> all;
  for (uint32_t e = 0; e < experts + shared; ++e) {
    auto made = std::make_shared<compute::expert_weights>();
    for (auto [view, to] :
         {std::pair(&gate, &made->gate), {&gate, &made->up}, {&down, &made->down}}) {
      auto w = on.load(*view, compute::weight_use::project);
      if (!w)
        return w.err();
      *to = *w;
    }
    all.push_back(made);
  }
  double expert_bytes = 2. * static_cast<double>(gate.bytes()) + static_cast<double>(down.bytes());
  std::vector<kernel_time> times;
  for (uint32_t rows : {1u, 16u, 64u, 512u}) {
    auto in = random_rows(on, uint64_t{rows} * hidden),
         out = random_rows(on, uint64_t{rows} * hidden);
    if (!in || !out)
      return in ? out.err() : in.err();
    compute::command_list list;
    double touched = 0;
    for (uint32_t turn = 0; turn < 15; ++turn) {
      compute::run_experts op{{(*in)->f32(), rows, hidden}, {}, {(*out)->f32(), rows, hidden}};
      std::vector<std::vector<uint32_t>> of(experts);
      for (uint32_t r = 0; r < rows; ++r)
        for (uint32_t k = 0; k < chosen; ++k)
          of[(turn * chosen + r * 7 + k * 15 + k) % experts].push_back(r);
      for (uint32_t e = 0; e < experts; ++e)
        if (!of[e].empty())
          op.tasks.push_back({all[e], of[e], std::vector<float>(of[e].size(), 0.25f), nullptr});
      std::vector<uint32_t> every(rows);
      std::iota(every.begin(), every.end(), 0u);
      for (uint32_t e = experts; e < experts + shared; ++e)
        op.tasks.push_back({all[e], every, std::vector<float>(rows, 1.f), nullptr});
      touched = static_cast<double>(op.tasks.size());
      list.push_back(std::move(op));
    }
    auto us = time_list(on, list);
    if (!us)
      return us.err();
    times.push_back({"experts " + name_of(type) + " x" + std::to_string(rows), *us,
                     touched * expert_bytes, 8. * 3 * rows * hidden * ff});
  }
  return times;
}

result<std::vector<kernel_time>> time_attention(compute::device& on) {
  compute::kv_shape shape{4, heads, head_dim, 32, 1100};
  auto cache = on.make_kv_cache(shape);
  if (!cache)
    return cache.err();
  struct test {
    std::string what;
    uint32_t sessions, position, count;
  };
  std::vector<kernel_time> times;
  for (const auto& t : {test{"decode at 512", 1, 512, 1},
                        {"decode at 4096", 1, 4096, 1},
                        {"decode at 32768", 1, 32768, 1},
                        {"16 sessions at 1024", 16, 1024, 1},
                        {"prompt of 512", 1, 0, 512}}) {
    uint32_t rows = t.sessions * t.count;
    uint64_t values = uint64_t{rows} * heads * head_dim;
    auto q = random_rows(on, values), k = random_rows(on, values), v = random_rows(on, values),
         out = random_rows(on, values);
    if (!q || !k || !v || !out)
      return {ec::out_of_memory, "no memory for rows"};
    auto view = [&](const result<compute::buffer_ptr>& b) {
      return compute::rows_f32{(*b)->f32(), rows, heads * head_dim};
    };
    uint32_t pages = (t.position + t.count + shape.page_tokens - 1) / shape.page_tokens;
    compute::command_list list;
    for (uint32_t i = 0; i < 8; ++i) {
      compute::attend op{view(q),
                         view(k),
                         view(v),
                         view(out),
                         cache->get(),
                         i % shape.layers,
                         heads,
                         {compute::rope_style::half, head_dim, 1e6f, 1.f},
                         {}};
      for (uint32_t s = 0; s < t.sessions; ++s) {
        compute::segment seg{s * t.count, t.count, t.position, {}};
        for (uint32_t p = 0; p < pages; ++p)
          seg.pages.push_back((s * pages + p) % shape.pages);
        op.segments.push_back(std::move(seg));
      }
      list.push_back(std::move(op));
    }
    auto us = time_list(on, list);
    if (!us)
      return us.err();
    double seen = t.count == 1 ? t.position + 1. : t.count;
    double pairs = t.count == 1 ? seen : t.count * (t.count + 1.) / 2;
    times.push_back({"attend " + t.what, *us, t.sessions * seen * heads * head_dim * 4,
                     t.sessions * pairs * heads * head_dim * 2});
  }
  return times;
}

} // namespace coel::bench
