#include "gpu/cuda/card.hpp"

#include "gpu/cuda/entries.hpp"

#include <atomic>
#include <cuda_runtime.h>

namespace coel::gpu {

namespace {

/// Failures after which the process can still use the card: a call was refused, nothing broke.
bool survivable(cudaError_t e) {
  switch (e) {
  case cudaErrorMemoryAllocation:
  case cudaErrorInvalidValue:
  case cudaErrorInvalidConfiguration:
  case cudaErrorInvalidDevicePointer:
  case cudaErrorInvalidMemcpyDirection:
  case cudaErrorLaunchOutOfResources:
  case cudaErrorInvalidDeviceFunction:
  case cudaErrorNoKernelImageForDevice:
  case cudaErrorUnsupportedPtxVersion:
  case cudaErrorJitCompilerNotFound:
  case cudaErrorJitCompilationDisabled:
  case cudaErrorInvalidDevice:
  case cudaErrorNotSupported:
    return true;
  default:
    return false;
  }
}

std::string text_of(cudaError_t e) {
  return std::string(cudaGetErrorName(e)) + " (" + cudaGetErrorString(e) + ")";
}

result<void> no_cards(cudaError_t e) {
  if (e == cudaErrorInsufficientDriver) // what the runtime says too where there is no driver at all
    return {ec::unsupported, "no usable GPU: there is no NVIDIA driver, or it is older than CUDA " +
                                 std::to_string(CUDART_VERSION / 1000) + "." +
                                 std::to_string(CUDART_VERSION % 1000 / 10) +
                                 ", with which this was built: install a newer one, or leave out "
                                 "--gpu"};
  return {ec::unsupported, "no usable GPU: " + text_of(e) +
                               "; install a driver for this toolkit, or leave out --gpu"};
}

/// Which card a thread's calls are for is state of the thread, and card 0 where nobody has said: so
/// everything that calls the runtime says it, or a context comes to be on a card that is not used.
cudaError_t select(int card) {
  static thread_local int current = -1;
  if (current == card)
    return cudaSuccess;
  auto e = cudaSetDevice(card);
  current = e == cudaSuccess ? card : -1;
  return e;
}

class cuda_mark : public mark {
 public:
  cuda_mark(int card, cudaEvent_t event) : card_(card), event_(event) {}
  ~cuda_mark() override {
    select(card_);
    cudaEventDestroy(event_);
  }
  cudaEvent_t event() const { return event_; }

 private:
  int card_;
  cudaEvent_t event_;
};

cudaEvent_t event_of(const mark& m) {
  return static_cast<const cuda_mark&>(m).event();
}

class cuda_graph : public graph {
 public:
  cuda_graph(int card, cudaGraphExec_t exec) : card_(card), exec_(exec) {}
  ~cuda_graph() override {
    select(card_);
    cudaGraphExecDestroy(exec_);
  }
  cudaGraphExec_t exec() const { return exec_; }

 private:
  int card_;
  cudaGraphExec_t exec_;
};

/// Behind `last`, which becomes it.
cudaError_t add_node(cudaGraph_t to, cudaGraphNode_t& last, const step& s) {
  cudaGraphNode_t fresh = nullptr;
  const cudaGraphNode_t* after = last ? &last : nullptr;
  size_t count = last ? 1 : 0;
  cudaError_t e;
  if (s.bytes) {
    e = cudaGraphAddMemcpyNode1D(&fresh, to, after, count, s.to, s.from, s.bytes,
                                 cudaMemcpyDefault);
  } else {
    void* parameters[] = {const_cast<std::byte*>(s.args.data())}; // copied by the call
    cudaKernelNodeParams p{};
    p.func = const_cast<void*>(cuda_entry(s.what));
    p.gridDim = dim3(s.blocks.x, s.blocks.y, s.blocks.z);
    p.blockDim = dim3(gpu::info(s.what).threads);
    p.kernelParams = parameters;
    e = cudaGraphAddKernelNode(&fresh, to, after, count, &p);
  }
  last = fresh;
  return e;
}

class cuda_card : public card {
 public:
  cuda_card(int number, card_info info) : number_(number), info_(std::move(info)) {}

  ~cuda_card() override {
    select(number_);
    for (auto s : streams_)
      if (s)
        cudaStreamDestroy(s);
  }

  result<void> open() {
    if (auto ok = use(); !ok)
      return ok;
    for (auto& s : streams_)
      if (auto ok = checked(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "stream"); !ok)
        return ok;
    cudaFuncAttributes about;
    auto fits = cudaFuncGetAttributes(&about, cuda_entry(kernel::quantise));
    if (fits == cudaSuccess)
      return {};
    cudaGetLastError();
    return {ec::unsupported, info_.name + ": this build has no kernels for compute capability " +
                                 std::to_string(info_.compute_capability / 10) + "." +
                                 std::to_string(info_.compute_capability % 10) +
                                 ": build with -DCOEL_GPU_ARCHITECTURES=" +
                                 std::to_string(info_.compute_capability)};
  }

  const card_info& info() const override { return info_; }

  result<std::byte*> allocate(uint64_t bytes) override {
    void* memory = nullptr;
    if (auto ok = use(); !ok)
      return ok.err();
    if (auto ok = checked(cudaMalloc(&memory, bytes), "allocation"); !ok)
      return ok.err();
    return static_cast<std::byte*>(memory);
  }
  void release(std::byte* memory) override {
    if (use())
      (void)checked(cudaFree(memory), "release");
  }
  result<std::byte*> allocate_host(uint64_t bytes) override {
    void* memory = nullptr;
    if (auto ok = use(); !ok)
      return ok.err();
    if (auto ok = checked(
            cudaHostAlloc(&memory, bytes, cudaHostAllocPortable | cudaHostAllocMapped), "pinning");
        !ok)
      return ok.err();
    return static_cast<std::byte*>(memory);
  }
  void release_host(std::byte* memory) override {
    if (use())
      (void)checked(cudaFreeHost(memory), "release");
  }

  result<void> copy(lane on, void* to, const void* from, uint64_t bytes) override {
    if (auto ok = use(); !ok)
      return ok;
    return checked(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream(on)), "copy");
  }

  result<void> launch(lane on, kernel k, grid blocks, const void* args) override {
    if (auto ok = use(); !ok)
      return ok;
    void* parameters[] = {const_cast<void*>(args)};
    return checked(cudaLaunchKernel(cuda_entry(k), dim3(blocks.x, blocks.y, blocks.z),
                                    dim3(gpu::info(k).threads), parameters, 0, stream(on)),
                   gpu::info(k).name);
  }

  result<graph_ptr> make_graph(std::span<const step> steps) override {
    if (auto ok = use(); !ok)
      return ok.err();
    cudaGraph_t plan = nullptr;
    if (auto ok = checked(cudaGraphCreate(&plan, 0), "graph"); !ok)
      return ok.err();
    cudaGraphNode_t last = nullptr;
    auto e = cudaSuccess;
    for (size_t i = 0; i < steps.size() && e == cudaSuccess; ++i)
      e = add_node(plan, last, steps[i]);
    cudaGraphExec_t exec = nullptr;
    if (e == cudaSuccess)
      e = cudaGraphInstantiate(&exec, plan, 0);
    cudaGraphDestroy(plan);
    if (auto ok = checked(e, "graph"); !ok)
      return ok.err();
    return graph_ptr(std::make_shared<cuda_graph>(number_, exec));
  }
  result<void> start(lane on, const graph& g) override {
    if (auto ok = use(); !ok)
      return ok;
    return checked(cudaGraphLaunch(static_cast<const cuda_graph&>(g).exec(), stream(on)), "graph");
  }

  result<mark_ptr> make_mark() override {
    cudaEvent_t event = nullptr;
    if (auto ok = use(); !ok)
      return ok.err();
    if (auto ok = checked(cudaEventCreate(&event), "event"); !ok)
      return ok.err();
    return mark_ptr(std::make_unique<cuda_mark>(number_, event));
  }
  result<void> set(mark& m, lane on) override {
    if (auto ok = use(); !ok)
      return ok;
    return checked(cudaEventRecord(event_of(m), stream(on)), "event");
  }
  result<bool> reached(const mark& m) override {
    if (auto ok = use(); !ok)
      return ok.err();
    auto state = cudaEventQuery(event_of(m));
    if (state == cudaErrorNotReady) {
      cudaGetLastError();
      return false;
    }
    if (auto ok = checked(state, "work"); !ok)
      return ok.err();
    return true;
  }
  result<void> wait(const mark& m) override {
    if (auto ok = use(); !ok)
      return ok;
    return checked(cudaEventSynchronize(event_of(m)), "work");
  }
  result<double> elapsed_us(const mark& from, const mark& to) override {
    float ms = 0;
    if (auto ok = use(); !ok)
      return ok.err();
    if (auto ok = checked(cudaEventElapsedTime(&ms, event_of(from), event_of(to)), "event"); !ok)
      return ok.err();
    return double{ms} * 1e3;
  }

 private:
  cudaStream_t stream(lane on) const { return streams_[static_cast<size_t>(on)]; }

  result<void> use() {
    if (lost_.load(std::memory_order_relaxed))
      return {ec::device_lost, info_.name + " was lost: restart the node to use it again"};
    return checked(select(number_), "card");
  }

  result<void> checked(cudaError_t e, const char* what) {
    if (e == cudaSuccess)
      return {};
    cudaGetLastError(); // so that the next call does not report it again
    std::string message = info_.name + ": " + what + ": " + text_of(e);
    if (e == cudaErrorMemoryAllocation)
      return {ec::out_of_memory, message + ": lower --gpu or free memory of the card"};
    if (survivable(e))
      return {ec::internal, message};
    lost_ = true;
    return {ec::device_lost, message};
  }

  const int number_;
  const card_info info_;
  std::array<cudaStream_t, 2> streams_{};
  std::atomic<bool> lost_{false};
};

result<card_info> about(int number) {
  cudaDeviceProp p;
  if (auto e = cudaGetDeviceProperties(&p, number); e != cudaSuccess)
    return no_cards(e).err();
  return card_info{p.name, static_cast<uint32_t>(10 * p.major + p.minor),
                   static_cast<uint32_t>(p.multiProcessorCount), p.totalGlobalMem};
}

} // namespace

result<std::vector<card_info>> cuda_cards() {
  int count = 0;
  if (auto e = cudaGetDeviceCount(&count); e != cudaSuccess)
    return no_cards(e).err();
  std::vector<card_info> cards;
  for (int i = 0; i < count; ++i) {
    auto one = about(i);
    if (!one)
      return one.err();
    cards.push_back(std::move(*one));
  }
  if (cards.empty())
    return {ec::unsupported, "no usable GPU: the driver knows none; leave out --gpu"};
  return cards;
}

result<card_ptr> open_cuda_card(uint32_t number) {
  auto cards = cuda_cards();
  if (!cards)
    return cards.err();
  if (number >= cards->size())
    return {ec::bad_argument, "there is no GPU " + std::to_string(number) + ": this machine has " +
                                  std::to_string(cards->size()) + ", counted from 0"};
  auto made = std::make_shared<cuda_card>(static_cast<int>(number), (*cards)[number]);
  if (auto ok = made->open(); !ok)
    return ok.err();
  return card_ptr(std::move(made));
}

} // namespace coel::gpu
