// Plain copies, and cuBLAS where it is installed: it is opened when asked for, so that no program
// needs it to start.
#include "gpu/limits.hpp"

#include "gpu/cuda/card.hpp"

#include <algorithm>
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <functional>
#include <random>

namespace coel::gpu {

namespace {

struct failure {
  error why;
};

/// Measuring is a straight line of calls; the first that fails ends it.
void need(cudaError_t e, const char* what) {
  if (e != cudaSuccess)
    throw failure{{e == cudaErrorMemoryAllocation ? ec::out_of_memory : ec::device_lost,
                   std::string(what) + ": " + cudaGetErrorString(e)}};
}

struct memory {
  void* at = nullptr;
  bool pinned;
  memory(size_t bytes, bool on_host = false) : pinned(on_host) {
    need(pinned ? cudaMallocHost(&at, bytes) : cudaMalloc(&at, bytes), "memory");
  }
  memory(const memory&) = delete;
  ~memory() { pinned ? cudaFreeHost(at) : cudaFree(at); }
};

struct event {
  cudaEvent_t at = nullptr;
  event() { need(cudaEventCreate(&at), "event"); }
  event(const event&) = delete;
  ~event() { cudaEventDestroy(at); }
};

/// The calling thread's card for as long as this lives.
struct chosen_card {
  int before = 0;
  explicit chosen_card(int card) {
    need(cudaGetDevice(&before), "card");
    need(cudaSetDevice(card), "card");
  }
  chosen_card(const chosen_card&) = delete;
  ~chosen_card() { cudaSetDevice(before); }
};

/// Seconds of one run: the median of nine, after two that do not count.
double seconds_of(const std::function<void()>& run) {
  event begin, end;
  std::vector<float> ms;
  for (int i = -2; i < 9; ++i) {
    need(cudaEventRecord(begin.at, nullptr), "event");
    run();
    need(cudaEventRecord(end.at, nullptr), "event");
    need(cudaEventSynchronize(end.at), "work");
    float one = 0;
    need(cudaEventElapsedTime(&one, begin.at, end.at), "event");
    if (i >= 0)
      ms.push_back(one);
  }
  std::nth_element(ms.begin(), ms.begin() + 4, ms.end());
  return ms[4] / 1e3;
}

double copy_rate(void* to, const void* from, size_t bytes) {
  return static_cast<double>(bytes) / 1e9 / seconds_of([&] {
           need(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, nullptr), "copy");
         });
}

using multiply_fn = cublasStatus_t(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int,
                                   int, const void*, const void*, cudaDataType, int, const void*,
                                   cudaDataType, int, const void*, void*, cudaDataType, int,
                                   cublasComputeType_t, cublasGemmAlgo_t);

/// The library, for as long as this lives.
class cublas {
 public:
  cublas() {
    for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so"})
      if (!library_)
        library_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  }
  cublas(const cublas&) = delete;
  ~cublas() {
    if (library_)
      dlclose(library_);
  }
  template <class F>
  F* function(const char* name) const {
    return library_ ? reinterpret_cast<F*>(dlsym(library_, name)) : nullptr;
  }

 private:
  void* library_ = nullptr;
};

void fill_random_f16(void* to, size_t count) {
  std::mt19937 random(1);
  std::vector<uint16_t> values(1 << 20);
  for (auto& v : values) // exponents around 1, any sign and fraction
    v = static_cast<uint16_t>((random() & 0x87ff) | 0x3800);
  for (size_t at = 0; at < count; at += values.size())
    need(cudaMemcpy(static_cast<uint16_t*>(to) + at, values.data(),
                    std::min(values.size(), count - at) * 2, cudaMemcpyHostToDevice),
         "copy");
}

void measure_f16(card_limits& out) {
  constexpr int n = 8192;
  cublas library;
  auto* create = library.function<decltype(cublasCreate_v2)>("cublasCreate_v2");
  auto* destroy = library.function<decltype(cublasDestroy_v2)>("cublasDestroy_v2");
  auto* multiply = library.function<multiply_fn>("cublasGemmEx");
  if (!create || !destroy || !multiply) {
    out.f16_missing = "no libcublas.so: put the toolkit's lib folder into LD_LIBRARY_PATH";
    return;
  }
  memory a(size_t{2} * n * n), b(size_t{2} * n * n), c(size_t{2} * n * n);
  fill_random_f16(a.at, size_t{n} * n);
  fill_random_f16(b.at, size_t{n} * n);
  cublasHandle_t handle = nullptr;
  if (create(&handle) != CUBLAS_STATUS_SUCCESS) {
    out.f16_missing = "cuBLAS does not start on this card";
    return;
  }
  float one = 1.f, zero = 0.f;
  auto status = CUBLAS_STATUS_SUCCESS;
  double s = seconds_of([&] {
    auto now = multiply(handle, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, &one, a.at, CUDA_R_16F, n, b.at,
                        CUDA_R_16F, n, &zero, c.at, CUDA_R_16F, n, CUBLAS_COMPUTE_32F,
                        CUBLAS_GEMM_DEFAULT);
    status = now != CUBLAS_STATUS_SUCCESS ? now : status;
  });
  destroy(handle);
  if (status == CUBLAS_STATUS_SUCCESS)
    out.f16_tflop_s = 2. * n * n * n / s / 1e12;
  else
    out.f16_missing = "cuBLAS refuses, status " + std::to_string(status);
}

} // namespace

result<card_limits> measure_limits(uint32_t card) {
  auto cards = cuda_cards();
  if (!cards)
    return cards.err();
  if (card >= cards->size())
    return {ec::bad_argument, "there is no GPU " + std::to_string(card)};
  card_limits out;
  try {
    chosen_card use(static_cast<int>(card));
    constexpr size_t large = size_t{1} << 30; // many times the largest cache
    constexpr size_t medium = size_t{1} << 28;
    memory from(large), to(large), host(medium, true);
    need(cudaMemset(from.at, 1, large), "memory");
    out.copy_gb_s = 2 * copy_rate(to.at, from.at, large);
    out.to_card_gb_s = copy_rate(to.at, host.at, medium);
    out.to_host_gb_s = copy_rate(host.at, from.at, medium);
    measure_f16(out);
  } catch (const failure& f) {
    return f.why;
  }
  return out;
}

} // namespace coel::gpu
