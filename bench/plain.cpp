#include "bench/plain.hpp"

#include "cpu/device.hpp"
#include "model/runner.hpp"

#include <random>

namespace coel::bench {

namespace {

std::vector<int32_t> random_tokens(uint32_t n, uint32_t vocab) {
  std::mt19937 random(1);
  std::vector<int32_t> tokens(n);
  for (auto& t : tokens)
    t = static_cast<int32_t>(random() % vocab);
  return tokens;
}

/// Everything but the embedding table and the experts that a token does not choose.
uint64_t bytes_per_token(const model::source& from) {
  const auto& c = from.config();
  uint64_t bytes = 0;
  auto add = [&](model::role what, uint32_t layer, uint64_t factor = 1) {
    if (auto m = from.matrix({what, static_cast<layer_id>(layer), {}}); m)
      bytes += m->bytes() * factor;
  };
  using model::role;
  add(c.tied_output ? role::token_embedding : role::output, 0);
  for (uint32_t l = 0; l < c.layers; ++l) {
    for (auto what : {role::attn_q, role::attn_k, role::attn_v, role::attn_output, role::router,
                      role::shared_gate, role::shared_up, role::shared_down})
      add(what, l);
    for (auto what : {role::expert_gate, role::expert_up, role::expert_down})
      add(what, l, c.top_k);
  }
  return bytes;
}

result<double> prompt_speed(model::runner& run, const std::vector<int32_t>& tokens) {
  run.reset();
  result<std::span<const float>> out{std::span<const float>{}};
  double took = seconds([&] { out = run.feed(tokens); });
  if (!out)
    return out.err();
  return static_cast<double>(tokens.size()) / took;
}

result<double> decode_speed(model::runner& run, const std::vector<int32_t>& tokens) {
  run.reset();
  result<std::span<const float>> out = run.feed(std::span(tokens).first(1));
  double took = seconds([&] {
    for (size_t i = 1; i < tokens.size() && out; ++i)
      out = run.feed(std::span(tokens).subspan(i, 1));
  });
  if (!out)
    return out.err();
  return static_cast<double>(tokens.size() - 1) / took;
}

template <class Once>
result<row> repeat(std::string name, uint32_t times, Once once) {
  std::vector<double> speeds;
  for (uint32_t i = 0; i <= times; ++i) {
    auto speed = once();
    if (!speed)
      return speed.err();
    if (i > 0) // the first warms caches and pages
      speeds.push_back(*speed);
  }
  return row{std::move(name), summary(std::move(speeds))};
}

} // namespace

result<report> run_plain(const options& o) {
  auto source = model::open_model(o.model);
  if (!source)
    return source.err();
  auto device = cpu::make_device({o.threads, o.kernels, 0, true});
  if (!device)
    return device.err();
  uint32_t longest = o.answer + 1;
  for (auto p : o.prompt)
    longest = std::max(longest, p);
  report out;
  result<std::unique_ptr<model::runner>> run = error{};
  out.load_seconds = seconds([&] {
    run = model::runner::load(*source, *device, {longest, 512, 1});
  });
  if (!run)
    return run.err();
  out.device =
      (*device)->status().name + ", " + std::to_string((*device)->status().threads) + " threads";
  out.model = (*source)->config().name;
  out.weight_bytes = (*run)->weight_bytes();
  out.bytes_per_token = bytes_per_token(**source);
  auto vocab = (*source)->config().vocab;
  for (auto p : o.prompt) {
    auto tokens = random_tokens(p, vocab);
    auto r = repeat("prompt " + std::to_string(p), o.repetitions,
                    [&] { return prompt_speed(**run, tokens); });
    if (!r)
      return r.err();
    out.rows.push_back(*r);
  }
  if (o.answer) {
    auto tokens = random_tokens(o.answer + 1, vocab);
    auto r = repeat("decode " + std::to_string(o.answer), o.repetitions,
                    [&] { return decode_speed(**run, tokens); });
    if (!r)
      return r.err();
    out.rows.push_back(*r);
  }
  return out;
}

} // namespace coel::bench
