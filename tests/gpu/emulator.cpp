#include "emulator.hpp"

#include "fiber.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <vector>

namespace coel::gpu {

namespace {

constexpr size_t shared_bytes = 48 << 10; // what every card gives a block without being asked
constexpr uint32_t lanes = simt::warp_lanes;
constexpr size_t exchange_words = 6;

enum class waiting : uint8_t { no, for_warp, for_block, done };

struct block_thread {
  fiber stack;
  waiting state = waiting::no;
  uint32_t exchanges = 0;
};

struct block_run {
  std::vector<block_thread> all;
  uint32_t current = 0;
  uint32_t threads = 0;
  uint32_t x = 0, y = 0, z = 0;
  void (*body)(const void*) = nullptr;
  const void* args = nullptr;
  alignas(64) std::byte shared[shared_bytes];
  // two of each: a lane may be one exchange ahead of those that still read
  std::vector<std::array<uint32_t, exchange_words>> slots[2];

  block_thread& self() { return all[current]; }
};

block_run& running() {
  static block_run run;
  return run;
}

void run_body() {
  block_run& b = running();
  b.body(b.args);
  b.self().state = waiting::done;
  b.self().stack.leave(true);
}

void wait_for(waiting what) {
  block_thread& self = running().self();
  self.state = what;
  self.stack.leave(false);
}

/// Lets go those that all of [first, first + count) wait for. False: some of them never come.
bool release(block_run& b, uint32_t first, uint32_t count, waiting what) {
  uint32_t there = 0;
  uint32_t gone = 0;
  for (uint32_t i = first; i < first + count; ++i) {
    there += b.all[i].state == what;
    gone += b.all[i].state == waiting::done;
  }
  if (there > 0 && gone > 0)
    return false;
  if (there == count)
    for (uint32_t i = first; i < first + count; ++i)
      b.all[i].state = waiting::no;
  return true;
}

void start(block_run& b) {
  std::fill(std::begin(b.shared), std::end(b.shared), std::byte{0xff}); // NaNs
  for (uint32_t i = 0; i < b.threads; ++i) {
    b.all[i].state = waiting::no;
    b.all[i].exchanges = 0;
  }
}

void run_block(block_run& b, std::mt19937& random) {
  start(b);
  std::vector<uint32_t> order(b.threads);
  for (uint32_t i = 0; i < b.threads; ++i)
    order[i] = i;
  std::shuffle(order.begin(), order.end(), random);
  for (bool all_done = false; !all_done;) {
    bool moved = false;
    for (uint32_t i : order)
      if (b.all[i].state == waiting::no) {
        b.current = i;
        b.self().stack.enter(run_body);
        moved = true;
      }
    bool fine = release(b, 0, b.threads, waiting::for_block);
    for (uint32_t w = 0; w < b.threads; w += lanes)
      fine = release(b, w, lanes, waiting::for_warp) && fine;
    all_done = std::all_of(b.all.begin(), b.all.begin() + b.threads,
                           [](const block_thread& t) { return t.state == waiting::done; });
    if (!fine || (!moved && !all_done))
      throw std::logic_error("threads wait for others that have left or wait elsewhere");
  }
}

/// Gives the lane's words to its warp; the others' are in the result once all have given theirs.
const std::array<uint32_t, exchange_words>*
exchange(const std::array<uint32_t, exchange_words>& words) {
  block_run& b = running();
  auto& slots = b.slots[b.self().exchanges++ % 2];
  slots[b.current] = words;
  uint32_t first = b.current / lanes * lanes;
  wait_for(waiting::for_warp);
  return &slots[first];
}

int32_t byte_product(uint32_t a, uint32_t b) {
  int32_t sum = 0;
  for (int i = 0; i < 32; i += 8)
    sum += int32_t{static_cast<int8_t>(a >> i)} * static_cast<int8_t>(b >> i);
  return sum;
}

template <class Args, auto Body>
void call(const void* args) {
  Body(*static_cast<const Args*>(args));
}

using body_fn = void (*)(const void*);
constexpr body_fn bodies[] = {
#define COEL_CALL(name, Args, threads, body) &call<Args, body>,
    COEL_KERNELS(COEL_CALL)
#undef COEL_CALL
};

} // namespace

void emulate(kernel k, grid_size grid, const void* args, uint32_t seed) {
  static std::mutex one_at_a_time;
  std::lock_guard lock(one_at_a_time);
  block_run& b = running();
  b.threads = info(k).threads;
  b.body = bodies[static_cast<size_t>(k)];
  b.args = args;
  if (b.all.size() < b.threads)
    b.all = std::vector<block_thread>(b.threads);
  for (auto& t : b.all)
    t.stack.forget(); // another thread of the host, or a launch that was given up
  for (auto& s : b.slots)
    s.resize(b.threads);
  std::mt19937 random(seed);
  for (b.z = 0; b.z < grid.z; ++b.z)
    for (b.y = 0; b.y < grid.y; ++b.y)
      for (b.x = 0; b.x < grid.x; ++b.x)
        run_block(b, random);
}

} // namespace coel::gpu

namespace coel::simt {

using gpu::running;

uint32_t thread() {
  return running().current;
}
uint32_t block_x() {
  return running().x;
}
uint32_t block_y() {
  return running().y;
}
uint32_t block_z() {
  return running().z;
}
void sync() {
  gpu::wait_for(gpu::waiting::for_block);
}

void* block_memory(size_t bytes) {
  if (bytes > gpu::shared_bytes)
    throw std::logic_error("a block wants more shared memory than a card gives");
  return running().shared;
}

uint32_t shuffle_xor(uint32_t value, uint32_t mask) {
  return gpu::exchange({value})[lane() ^ mask][0];
}

// The layout of the PTX manual: lane 4 g + t has bytes 4 t .. 4 t + 3 (and 16 further on) of rows g
// and g + 8 of A and of column g of B, and columns 2 t, 2 t + 1 of rows g and g + 8 of c.
void multiply_16(int32_t (&c)[4], uint32_t a0, uint32_t a1, uint32_t b) {
  multiply_32(c, {a0, a1, 0, 0}, {b, 0});
}

void multiply_32(int32_t (&c)[4], const uint32_t (&a)[4], words2 b) {
  const auto* all = gpu::exchange({a[0], a[1], a[2], a[3], b.x, b.y});
  uint32_t g = lane() / 4;
  uint32_t t = lane() % 4;
  for (uint32_t i = 0; i < 4; ++i) {
    uint32_t second = i / 2; // row g or g + 8
    uint32_t column = 2 * t + i % 2;
    for (uint32_t k = 0; k < 4; ++k)
      c[i] += gpu::byte_product(all[4 * g + k][second], all[4 * column + k][4]) +
              gpu::byte_product(all[4 * g + k][2 + second], all[4 * column + k][5]);
  }
}

} // namespace coel::simt
