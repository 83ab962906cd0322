// coel-gpu-bench: what a card can do, what the kernels do on it, and a model in a plain loop; needs
// no actors, so that it runs on a bare machine (tools/gpu_check.sh).
#include "bench/card/kernels.hpp"
#include "bench/plain_engine.hpp"
#include "bench/token_cost.hpp"
#include "gpu/device.hpp"
#include "gpu/limits.hpp"
#include "model/random_model.hpp"

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <thread>

namespace {

using namespace coel;
using namespace coel::bench;

int fail(const error& e) {
  std::fprintf(stderr, "coel-gpu-bench: %s\n", e.message.c_str());
  return 1;
}

void print_limits(const gpu::card_info& card, const gpu::card_limits& l) {
  std::printf("card  %s, compute capability %u.%u, %u multiprocessors, %.1f GB\n",
              card.name.c_str(), card.compute_capability / 10, card.compute_capability % 10,
              card.multiprocessors, static_cast<double>(card.memory_bytes) / 1e9);
  std::printf("copy  %.0f GB/s inside, %.1f GB/s to the card, %.1f GB/s to the host\n", l.copy_gb_s,
              l.to_card_gb_s, l.to_host_gb_s);
  if (l.f16_tflop_s > 0)
    std::printf("f16   %.0f TFLOP/s by cuBLAS\n\n", l.f16_tflop_s);
  else
    std::printf("f16   not measured: %s\n\n", l.f16_missing.c_str());
}

void print_kernels(const std::vector<kernel_time>& times, const gpu::card_limits& l) {
  for (const auto& t : times) {
    double gb_s = t.bytes / t.us / 1e3, tflop_s = 2 * t.multiply_adds / t.us / 1e6;
    std::printf("%-30s %9.1f us %7.0f GB/s %4.0f %% %8.1f TFLOP/s %4.0f %%\n", t.what.c_str(), t.us,
                gb_s, 100 * gb_s / l.copy_gb_s, tflop_s,
                l.f16_tflop_s > 0 ? 100 * tflop_s / l.f16_tflop_s : 0.);
  }
}

result<void> bench_kernels(compute::device& on, const gpu::card_limits& l) {
  std::printf("%-30s %12s %12s %6s %16s %6s\n", "kernel", "time", "read", "copy", "done", "f16");
  for (dtype type : {dtype::q4_0, dtype::q8_0, dtype::q4_k, dtype::q5_k, dtype::q6_k, dtype::f16,
                     dtype::bf16, dtype::f32}) {
    auto times = time_projections(on, type);
    if (!times)
      return times.err();
    print_kernels(*times, l);
  }
  for (dtype type : {dtype::q4_0, dtype::q8_0}) {
    auto times = time_experts(on, type);
    if (!times)
      return times.err();
    print_kernels(*times, l);
  }
  auto times = time_attention(on);
  if (!times)
    return times.err();
  print_kernels(*times, l);
  return {};
}

result<void> bench_model(const std::string& shape, const compute::device_ptr& on,
                         const gpu::card_limits& l) {
  auto known = model::shape_by_name(shape);
  if (!known)
    return {ec::bad_argument, "unknown shape '" + shape + "'; known are " + model::known_shapes()};
  auto path = model::cached_random_model(model::default_cache_folder(), {*known},
                                         std::thread::hardware_concurrency());
  if (!path)
    return path.err();
  auto from = model::open_model(*path);
  if (!from)
    return from.err();
  auto cost = cost_of_token(**from);
  auto engine = make_plain_engine({*path, on, 1024, 1}, {});
  if (!engine)
    return engine.err();
  std::vector<int32_t> prompt(512);
  for (size_t i = 0; i < prompt.size(); ++i)
    prompt[i] = static_cast<int32_t>(i % 251);
  std::vector<double> prompt_s, decode_s;
  for (int i = -1; i < 3; ++i) {
    auto times = (*engine)->generate({prompt}, 129);
    if (!times)
      return times.err();
    if (i >= 0) {
      prompt_s.push_back(times->front().prompt_s);
      decode_s.push_back(times->front().decode_s / 128);
    }
  }
  std::sort(prompt_s.begin(), prompt_s.end());
  std::sort(decode_s.begin(), decode_s.end());
  double bound_s = static_cast<double>(cost.bytes) / (l.copy_gb_s * 1e9);
  double tflop_s = 2 * static_cast<double>(cost.of_prompt(512)) / prompt_s[1] / 1e12;
  std::printf("\n%s q4_0, plain loop\n", shape.c_str());
  std::printf("decode       %8.1f tokens/s, %4.0f %% of the bound of %.0f\n", 1 / decode_s[1],
              100 * bound_s / decode_s[1], 1 / bound_s);
  std::printf("prompt 512   %8.0f tokens/s, %4.0f %% of the f16 rate\n", 512 / prompt_s[1],
              l.f16_tflop_s > 0 ? 100 * tflop_s / l.f16_tflop_s : 0.);
  return {};
}

int list_cards(const std::vector<gpu::card_info>& cards) {
  for (size_t i = 0; i < cards.size(); ++i)
    std::printf("card %zu: %s, compute capability %u.%u, %.1f GB\n", i, cards[i].name.c_str(),
                cards[i].compute_capability / 10, cards[i].compute_capability % 10,
                static_cast<double>(cards[i].memory_bytes) / 1e9);
  return 0;
}

} // namespace

/// coel-gpu-bench [CARD [SHAPE]]: without SHAPE no model is made. coel-gpu-bench cards: lists them;
/// 1 if there is none.
int main(int argc, char** argv) {
  auto cards = gpu::usable_cards();
  if (!cards)
    return fail(cards.err());
  if (argc > 1 && std::string_view(argv[1]) == "cards")
    return list_cards(*cards);
  uint32_t number = argc > 1 ? static_cast<uint32_t>(std::strtoul(argv[1], nullptr, 10)) : 0;
  auto limits = gpu::measure_limits(number);
  if (!limits)
    return fail(limits.err());
  auto device = gpu::make_device({number, 0});
  if (!device)
    return fail(device.err());
  print_limits((*cards)[number], *limits);
  if (auto ok = bench_kernels(**device, *limits); !ok)
    return fail(ok.err());
  if (argc > 2)
    if (auto ok = bench_model(argv[2], *device, *limits); !ok)
      return fail(ok.err());
  return 0;
}
