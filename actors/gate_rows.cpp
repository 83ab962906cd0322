#include "actors/gate_rows.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>

namespace coel::actors {

namespace {

bool is_shared(const served_model& m, expert_id e) {
  return index(e) >= m.config().experts;
}

/// The shared gate's value of each row.
std::vector<float> shared_factors(const served_model& m, const layer_work& work) {
  std::vector<float> factors(work.rows, 1.f);
  if (m.config().shared_gated)
    m.device->read(factors.data(), work.buffers().shared_weight->data(),
                   factors.size() * sizeof(float));
  return factors;
}

std::vector<uint32_t> union_of_rows(const std::vector<expert_rows>& experts, uint32_t rows) {
  std::vector<bool> used(rows);
  for (const auto& e : experts)
    for (auto r : e.rows)
      used[r] = true;
  std::vector<uint32_t> all;
  for (uint32_t r = 0; r < rows; ++r)
    if (used[r])
      all.push_back(r);
  return all;
}

std::vector<float> gather(const served_model& m, const layer_work& work,
                          const std::vector<uint32_t>& rows) {
  size_t hidden = m.config().hidden;
  std::vector<float> packed(rows.size() * hidden);
  const float* from = work.buffers().normed->f32();
  if (rows.size() == work.rows)
    m.device->read(packed.data(), from, packed.size() * sizeof(float));
  else
    for (size_t i = 0; i < rows.size(); ++i)
      m.device->read(packed.data() + i * hidden, from + rows[i] * hidden, hidden * sizeof(float));
  return packed;
}

} // namespace

std::vector<expert_rows> rows_by_expert(const served_model& m, const layer_work& work) {
  std::span<const int32_t> ids(work.buffers().chosen_experts(),
                               size_t{work.rows} * m.config().top_k);
  return rows_by_expert(m, work, ids, {work.buffers().chosen_weights(), ids.size()});
}

std::vector<expert_rows> rows_by_expert(const served_model& m, const layer_work& work,
                                        std::span<const int32_t> ids,
                                        std::span<const float> weights) {
  const auto& config = m.config();
  std::vector<uint32_t> all(work.rows);
  std::iota(all.begin(), all.end(), 0u);
  std::vector<expert_rows> groups;
  for (uint32_t e = config.experts; e < m.experts_per_layer; ++e)
    groups.push_back({static_cast<expert_id>(e), all, {}});
  auto routed = policy::group_by_expert(ids, weights, work.rows, config.experts);
  std::move(routed.begin(), routed.end(), std::back_inserter(groups));
  return groups;
}

compute::expert_task task_for(const served_model& m, const layer_work& work, expert_rows group) {
  compute::expert_task task{nullptr, std::move(group.rows), std::move(group.weights), nullptr};
  if (!is_shared(m, group.expert))
    return task;
  if (m.config().shared_gated)
    task.row_weights = work.buffers().shared_weight->f32();
  else
    task.weights.assign(task.rows.size(), 1.f);
  return task;
}

remote_share share_for(const served_model& m, const layer_work& work,
                       const std::vector<expert_rows>& experts) {
  remote_share share;
  share.rows = union_of_rows(experts, work.rows);
  auto& out = share.message;
  out.model = m.hash;
  out.layer = work.layer;
  out.rows = static_cast<uint32_t>(share.rows.size());
  out.hidden = m.config().hidden;
  out.activations = gather(m, work, share.rows);
  out.experts = experts;
  std::vector<float> factors;
  for (auto& e : out.experts) {
    if (is_shared(m, e.expert)) {
      if (factors.empty())
        factors = shared_factors(m, work);
      for (auto r : e.rows)
        e.weights.push_back(factors[r]);
    }
    for (auto& r : e.rows)
      r = static_cast<uint32_t>(std::lower_bound(share.rows.begin(), share.rows.end(), r) -
                                share.rows.begin());
  }
  return share;
}

size_t rows_of(const std::vector<expert_rows>& experts) {
  size_t rows = 0;
  for (const auto& e : experts)
    rows += e.rows.size();
  return rows;
}

} // namespace coel::actors
