#include "actors/whole_step.hpp"

#include "actors/near_memory.hpp"

#include <algorithm>

namespace coel::actors {

namespace {

/// Of lists of pages, which each layer has: more would not fit the tables that were set aside.
constexpr size_t most_pages = size_t{64} << 10;

bool is_small(const layers_work& work) {
  size_t pages = 0;
  for (const auto& s : work.segments)
    pages += s.pages.size() * s.count;
  return work.first < work.end && work.rows <= model::most_whole_rows &&
         pages * (work.end - work.first) <= most_pages;
}

} // namespace

std::optional<compute::command_list> whole_step(const served_model& m, const layers_work& work) {
  if (!m.near || !is_small(work))
    return {};
  std::vector<std::shared_ptr<const model::whole_experts>> experts; // before anything is built
  for (auto l = work.first; l < work.end; ++l) {
    experts.push_back(m.near->whole(static_cast<layer_id>(l)));
    if (!experts.back() || work.rows > m.device->most_chosen_rows(*experts.back()->routed))
      return {};
  }
  auto graph = m.graph();
  const auto& b = work.memory->buffers;
  compute::command_list list;
  if (!work.tokens.empty())
    list = graph.embed(b, work.tokens);
  for (auto l = work.first; l < work.end; ++l) {
    auto slot = l - work.first;
    auto part = graph.whole_layer(b, static_cast<layer_id>(l), work.rows, work.memory->cache.get(),
                                  work.segments, *experts[slot], slot);
    std::move(part.begin(), part.end(), std::back_inserter(list));
  }
  return list;
}

std::vector<int32_t> chosen_by(const served_model& m, const layers_work& work) {
  size_t k = m.config().top_k, of_slot = model::most_whole_rows * k, layers = work.end - work.first;
  std::vector<int32_t> all(layers * of_slot), out;
  m.device->read(all.data(), work.memory->buffers.all_ids->data(), all.size() * sizeof(int32_t));
  out.reserve(layers * work.rows * k);
  for (size_t l = 0; l < layers; ++l)
    for (size_t i = 0; i < work.rows * k; ++i) {
      auto id = all[l * of_slot + i];
      out.push_back(id);
      m.near->chosen({static_cast<layer_id>(work.first + l), static_cast<expert_id>(id)}, 1);
    }
  return out;
}

} // namespace coel::actors
