#include "model/runner.hpp"

#include <algorithm>
#include <future>
#include <numeric>

namespace coel::model {

std::vector<expert_rows> group_by_expert(std::span<const int32_t> ids,
                                         std::span<const float> weights, uint32_t rows,
                                         uint32_t experts) {
  std::vector<expert_rows> by_expert(experts);
  auto top_k = rows ? static_cast<uint32_t>(ids.size() / rows) : 0;
  for (uint32_t r = 0; r < rows; ++r)
    for (uint32_t k = 0; k < top_k; ++k) {
      auto& group = by_expert[static_cast<uint32_t>(ids[r * top_k + k])];
      group.rows.push_back(r);
      group.weights.push_back(weights[r * top_k + k]);
    }
  std::vector<expert_rows> used;
  for (uint32_t e = 0; e < experts; ++e)
    if (!by_expert[e].rows.empty()) {
      by_expert[e].expert = static_cast<expert_id>(e);
      used.push_back(std::move(by_expert[e]));
    }
  return used;
}

struct runner::state {
  source_ptr from;
  compute::device_ptr on;
  model_config config;
  dense_weights dense;
  std::vector<std::vector<expert_ptr>> experts; // [layers][experts_per_layer]
  step_buffers buffers;
  compute::kv_cache_ptr cache;
  std::vector<uint32_t> pages;
  uint32_t context = 0;
  uint32_t position = 0;
  routing_sink on_routing;
  uint64_t weight_bytes = 0;

  /// The batch in flight; each completion submits what follows, on the device's own thread, so that
  /// no thread is woken between two layers.
  struct batch {
    uint32_t rows = 0;
    std::promise<result<void>> done;
  };

  graph layers() const { return graph(config, dense); }

  compute::segment segment_of(uint32_t rows) const {
    compute::segment s{0, rows, position, {}};
    uint32_t page_tokens = cache->shape().page_tokens;
    s.pages.assign(pages.begin(),
                   pages.begin() + (position + rows + page_tokens - 1) / page_tokens);
    return s;
  }

  void submit_attention(batch& b, uint32_t layer, compute::command_list before = {}) {
    auto list = std::move(before);
    auto rest = layers().attention(buffers, static_cast<layer_id>(layer), b.rows, cache.get(),
                                   {segment_of(b.rows)});
    std::move(rest.begin(), rest.end(), std::back_inserter(list));
    on->submit(std::move(list), [this, &b, layer](const compute::completion_info& info) {
      if (!info.outcome)
        return b.done.set_value(info.outcome);
      submit_experts(b, layer);
    });
  }

  void submit_experts(batch& b, uint32_t layer) {
    std::span<const int32_t> ids(buffers.chosen_experts(), size_t{b.rows} * config.top_k);
    std::span<const float> weights(buffers.chosen_weights(), ids.size());
    if (on_routing)
      on_routing(position, static_cast<layer_id>(layer), ids);
    auto list = layers().experts(buffers, b.rows, tasks(b.rows, layer, ids, weights));
    on->submit(std::move(list), [this, &b, layer](const compute::completion_info& info) {
      if (!info.outcome)
        return b.done.set_value(info.outcome);
      if (layer + 1 < config.layers)
        return submit_attention(b, layer + 1);
      b.done.set_value({});
    });
  }

  std::vector<compute::expert_task> tasks(uint32_t rows, uint32_t layer,
                                          std::span<const int32_t> ids,
                                          std::span<const float> weights) const {
    std::vector<compute::expert_task> out;
    for (auto& group : group_by_expert(ids, weights, rows, config.experts))
      out.push_back({experts[layer][index(group.expert)], std::move(group.rows),
                     std::move(group.weights), nullptr});
    std::vector<uint32_t> all(rows);
    std::iota(all.begin(), all.end(), 0u);
    bool gated = dense.layers[layer].shared_router != nullptr;
    for (size_t e = config.experts; e < experts[layer].size(); ++e)
      out.push_back({experts[layer][e], all,
                     gated ? std::vector<float>{} : std::vector<float>(rows, 1.f),
                     gated ? buffers.shared_weight->f32() : nullptr});
    return out;
  }

  /// One batch of at most max_rows tokens through all layers.
  result<void> step(std::span<const int32_t> tokens) {
    batch b{static_cast<uint32_t>(tokens.size()), {}};
    auto outcome = b.done.get_future();
    submit_attention(b, 0, layers().embed(buffers, {tokens.begin(), tokens.end()}));
    return outcome.get();
  }

  result<void> check(std::span<const int32_t> tokens) const {
    if (tokens.size() > context - position)
      return {ec::too_long, "the text has " + std::to_string(position + tokens.size()) +
                                " tokens, more than the context of " + std::to_string(context)};
    for (int32_t t : tokens)
      if (t < 0 || static_cast<uint32_t>(t) >= config.vocab)
        return {ec::bad_argument, "token " + std::to_string(t) + " is outside the vocabulary of " +
                                      std::to_string(config.vocab)};
    return {};
  }

  /// Feeds slice by slice; after each, logits of the rows that `wanted` names go to the sink.
  enum class wanted { last, all };
  result<void> feed(std::span<const int32_t> tokens, wanted want, const logits_sink& sink) {
    if (auto ok = check(tokens); !ok)
      return ok;
    while (!tokens.empty()) {
      auto slice = tokens.first(std::min<size_t>(tokens.size(), buffers.max_rows));
      tokens = tokens.subspan(slice.size());
      if (auto ok = step(slice); !ok)
        return ok;
      auto rows = static_cast<uint32_t>(slice.size());
      uint32_t first = want == wanted::all ? 0 : tokens.empty() ? rows - 1 : rows;
      if (auto ok = give_logits(rows, first, sink); !ok)
        return ok;
      position += rows;
    }
    return {};
  }

  result<void> give_logits(uint32_t rows, uint32_t first, const logits_sink& sink) {
    for (; first < rows; first += buffers.max_logits) {
      std::vector<uint32_t> chosen(std::min(buffers.max_logits, rows - first));
      std::iota(chosen.begin(), chosen.end(), first);
      if (auto ok = compute::run(*on, layers().head(buffers, rows, chosen)); !ok)
        return ok;
      for (uint32_t i = 0; i < chosen.size(); ++i)
        sink(position + chosen[i], {buffers.logits_row(i, config.vocab), config.vocab});
    }
    return {};
  }
};

namespace {

result<uint64_t> total_expert_bytes(const source& from) {
  uint64_t total = 0;
  for (uint32_t l = 0; l < from.config().layers; ++l)
    for (uint32_t e = 0; e < experts_per_layer(from); ++e) {
      auto bytes = expert_file_bytes(from, {static_cast<layer_id>(l), static_cast<expert_id>(e)});
      if (!bytes)
        return bytes.err();
      total += *bytes;
    }
  return total;
}

} // namespace

runner::runner(std::unique_ptr<state> s) : state_(std::move(s)) {}
runner::~runner() = default;

result<std::unique_ptr<runner>> runner::load(source_ptr from, compute::device_ptr on,
                                             const runner_options& options,
                                             std::function<void(uint64_t, uint64_t)> progress) {
  auto dense = load_dense(*from, *on);
  if (!dense)
    return dense.err();
  auto total = total_expert_bytes(*from);
  if (!total)
    return total.err();
  std::vector<std::vector<expert_ptr>> experts;
  uint64_t done = 0;
  for (uint32_t l = 0; l < from->config().layers; ++l) {
    auto& row = experts.emplace_back();
    for (uint32_t e = 0; e < experts_per_layer(*from); ++e) {
      expert_key key{static_cast<layer_id>(l), static_cast<expert_id>(e)};
      auto expert = load_expert(*from, *on, key);
      if (!expert)
        return expert.err();
      done += (*expert_file_bytes(*from, key));
      row.push_back(std::move(*expert));
    }
    if (progress)
      progress(done, *total);
  }
  return over(std::move(from), std::move(on), std::move(*dense), std::move(experts), options);
}

result<std::unique_ptr<runner>> runner::over(source_ptr from, compute::device_ptr on,
                                             dense_weights dense,
                                             std::vector<std::vector<expert_ptr>> experts,
                                             const runner_options& options) {
  auto s = std::make_unique<state>();
  s->from = from;
  s->on = on;
  s->config = from->config();
  s->context = options.context ? options.context : s->config.context;
  s->dense = std::move(dense);
  s->experts = std::move(experts);
  s->weight_bytes = s->dense.bytes;
  for (const auto& layer : s->experts)
    for (const auto& expert : layer)
      s->weight_bytes += expert->bytes;
  auto rows = std::min(options.max_rows, s->context);
  auto buffers = make_step_buffers(s->config, *on, rows, std::min(options.max_logits, rows));
  if (!buffers)
    return buffers.err();
  s->buffers = std::move(*buffers);
  compute::kv_shape shape{s->config.layers, s->config.kv_heads, s->config.head_dim, 32, 0};
  shape.pages = (s->context + shape.page_tokens - 1) / shape.page_tokens;
  auto cache = on->make_kv_cache(shape);
  if (!cache)
    return cache.err();
  s->cache = *cache;
  s->pages.resize(shape.pages);
  std::iota(s->pages.begin(), s->pages.end(), 0u);
  return std::unique_ptr<runner>(new runner(std::move(s)));
}

result<void> runner::feed_all(std::span<const int32_t> tokens, const logits_sink& sink) {
  return state_->feed(tokens, state::wanted::all, sink);
}

result<std::span<const float>> runner::feed(std::span<const int32_t> tokens) {
  std::span<const float> last;
  auto keep = [&](uint32_t, std::span<const float> logits) { last = logits; };
  if (auto ok = state_->feed(tokens, state::wanted::last, keep); !ok)
    return ok.err();
  return last;
}

void runner::reset() {
  state_->position = 0;
}
uint32_t runner::position() const {
  return state_->position;
}
void runner::observe_routing(routing_sink sink) {
  state_->on_routing = std::move(sink);
}
const model_config& runner::config() const {
  return state_->config;
}
const step_buffers& runner::buffers() const {
  return state_->buffers;
}
uint64_t runner::weight_bytes() const {
  return state_->weight_bytes;
}

} // namespace coel::model
