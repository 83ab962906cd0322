// What a kernel's body may use of the machine it runs on. The bodies (*_kernel.hpp) are plain C++
// over these functions: nvcc compiles them for a card, and the host compiler for an emulator that
// runs every thread of a block (tests/gpu/emulator.hpp), so that index maps, barriers and bounds
// are checked on machines without a card.
//
// The functions round as IEEE 754 says and the sources are compiled without contraction, so card
// and emulator agree bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__CUDACC__)
#include "compute/quant.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#endif

#if defined(__CUDACC__)
#define COEL_DEVICE __device__ __forceinline__
/// The block's shared memory as one struct; one a kernel.
#define COEL_SHARED(type, name) __shared__ type name
#define COEL_UNROLL _Pragma("unroll")
#else
#define COEL_DEVICE inline
#define COEL_SHARED(type, name)                                                                    \
  type& name = *static_cast<type*>(coel::simt::block_memory(sizeof(type)))
#define COEL_UNROLL
#endif

namespace coel::simt {

inline constexpr uint32_t warp_lanes = 32;

/// Four bytes, eight and sixteen, as one load each.
struct alignas(8) words2 {
  uint32_t x, y;
};
struct alignas(16) words4 {
  uint32_t x, y, z, w;
};

#if defined(__CUDACC__)

COEL_DEVICE uint32_t thread() {
  return threadIdx.x;
}
COEL_DEVICE uint32_t block_x() {
  return blockIdx.x;
}
COEL_DEVICE uint32_t block_y() {
  return blockIdx.y;
}
COEL_DEVICE uint32_t block_z() {
  return blockIdx.z;
}
COEL_DEVICE void sync() {
  __syncthreads();
}
COEL_DEVICE uint32_t shuffle_xor(uint32_t value, uint32_t mask) {
  return __shfl_xor_sync(0xffffffffu, value, static_cast<int>(mask));
}
COEL_DEVICE float as_float(uint32_t bits) {
  return __uint_as_float(bits);
}
COEL_DEVICE uint32_t as_bits(float x) {
  return __float_as_uint(x);
}
COEL_DEVICE float fma(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
COEL_DEVICE float square_root(float x) {
  return __fsqrt_rn(x);
}
COEL_DEVICE float divide(float a, float b) {
  return __fdiv_rn(a, b);
}
COEL_DEVICE int32_t to_int(float x) {
  return __float2int_rn(x);
}
COEL_DEVICE float half_to_float(uint16_t bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}
COEL_DEVICE uint16_t float_to_half(float x) {
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
/// Reads through the read-only cache: the memory must not change while the kernel runs.
COEL_DEVICE uint32_t load1(const void* p) {
  return __ldg(static_cast<const unsigned int*>(p));
}
COEL_DEVICE words2 load2(const void* p) {
  uint2 v = __ldg(static_cast<const uint2*>(p));
  return {v.x, v.y};
}
COEL_DEVICE words4 load4(const void* p) {
  uint4 v = __ldg(static_cast<const uint4*>(p));
  return {v.x, v.y, v.z, v.w};
}

/// c += A B over signed bytes: A is [16, 16], B [16, 8], c [16, 8] in int32, spread over a warp as
/// the PTX manual says of mma.m16n8k16. Lane 4 g + t holds of A the bytes 4 t .. 4 t + 3 of rows g
/// and g + 8, of B the same bytes of column g, of c columns 2 t and 2 t + 1 of rows g and g + 8.
COEL_DEVICE void multiply_16(int32_t (&c)[4], uint32_t a0, uint32_t a1, uint32_t b) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
               "{%0,%1,%2,%3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a0), "r"(a1), "r"(b));
#else
  asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
               : "+r"(c[0]), "+r"(c[1])
               : "r"(a0), "r"(b));
  asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
               : "+r"(c[2]), "+r"(c[3])
               : "r"(a1), "r"(b));
#endif
}

/// The same over 32 columns: a[0], a[1] and b.x as above for the first 16, a[2], a[3] and b.y for
/// the others.
COEL_DEVICE void multiply_32(int32_t (&c)[4], const uint32_t (&a)[4], words2 b) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
               "{%8,%9}, {%0,%1,%2,%3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.x), "r"(b.y));
#else
  multiply_16(c, a[0], a[1], b.x);
  multiply_16(c, a[2], a[3], b.y);
#endif
}

#else // the host; those without a body are the emulator's

uint32_t thread();
uint32_t block_x();
uint32_t block_y();
uint32_t block_z();
void sync();
void* block_memory(size_t bytes); ///< the same for all threads of a block; poisoned at its start
uint32_t shuffle_xor(uint32_t value, uint32_t mask);
void multiply_16(int32_t (&c)[4], uint32_t a0, uint32_t a1, uint32_t b);
void multiply_32(int32_t (&c)[4], const uint32_t (&a)[4], words2 b);

inline float as_float(uint32_t bits) {
  return std::bit_cast<float>(bits);
}
inline uint32_t as_bits(float x) {
  return std::bit_cast<uint32_t>(x);
}
inline float fma(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float square_root(float x) {
  return std::sqrt(x);
}
inline float divide(float a, float b) {
  return a / b;
}
inline int32_t to_int(float x) {
  return static_cast<int32_t>(std::lrint(x));
}
inline float half_to_float(uint16_t bits) {
  return compute::f16_to_f32(bits);
}
inline uint16_t float_to_half(float x) {
  return compute::f32_to_f16(x);
}
template <class T>
T load_aligned(const void* p) {
  static_assert(sizeof(T) == alignof(T));
  return *static_cast<const T*>(__builtin_assume_aligned(p, sizeof(T))); // checked by UBSan
}
inline uint32_t load1(const void* p) {
  return load_aligned<uint32_t>(p);
}
inline words2 load2(const void* p) {
  return load_aligned<words2>(p);
}
inline words4 load4(const void* p) {
  return load_aligned<words4>(p);
}

#endif

COEL_DEVICE uint32_t lane() {
  return thread() % warp_lanes;
}
COEL_DEVICE uint32_t warp() {
  return thread() / warp_lanes;
}
COEL_DEVICE float shuffle_xor(float value, uint32_t mask) {
  return as_float(shuffle_xor(as_bits(value), mask));
}
COEL_DEVICE float bf16_to_float(uint16_t bits) {
  return as_float(static_cast<uint32_t>(bits) << 16);
}
COEL_DEVICE float larger(float a, float b) { // as fmaxf: a NaN loses
  return a > b || b != b ? a : b;
}

/// Over the lanes of a warp, in an order that is always the same; every lane has the result.
COEL_DEVICE float sum_of_warp(float x) {
  for (uint32_t step = 16; step > 0; step /= 2)
    x += shuffle_xor(x, step);
  return x;
}
COEL_DEVICE float largest_of_warp(float x) {
  for (uint32_t step = 16; step > 0; step /= 2)
    x = larger(x, shuffle_xor(x, step));
  return x;
}
COEL_DEVICE int32_t sum_of_warp(int32_t x) {
  for (uint32_t step = 16; step > 0; step /= 2)
    x += static_cast<int32_t>(shuffle_xor(static_cast<uint32_t>(x), step));
  return x;
}

/// e^x within 2 units in the last place for x in [-87, 88], clamped to that (Cephes' expf): the
/// arithmetic of the CPU's kernels, and the same on card and host.
COEL_DEVICE float exponential(float x) {
  x = x < -87.f ? -87.f : x > 88.f ? 88.f : x;
  int32_t power = to_int(x * 1.44269504f);
  float n = static_cast<float>(power);
  float r = fma(-n, 0.693359375f, x);
  r = fma(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = fma(p, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  p = fma(p, r * r, r + 1.f);
  return p * as_float(static_cast<uint32_t>(power + 127) << 23);
}

} // namespace coel::simt
