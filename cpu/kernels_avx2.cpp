// The AVX2 kernels. Only what lies between push_options and pop_options is compiled for
// that instruction set: the program itself runs anywhere. Nothing there may instantiate a template
// of the standard library, as the linker could keep that copy for everyone.
#include "cpu/packed.hpp"
#include "cpu/vector_kernels.hpp"

#include <array>
#include <cmath>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)

#include <cpuid.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

#include "cpu/simd_avx2.hpp"

namespace coel::cpu {
namespace simd = avx2;
// clang-format off
#include "cpu/panel_kernels.hpp"
#include "cpu/row_kernels.hpp"
// clang-format on

} // namespace coel::cpu

#pragma GCC pop_options

namespace coel::cpu {

namespace {

// __builtin_cpu_supports knows "f16c" in some compilers only.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C);
}

} // namespace

const vector_kernels* avx2_kernels() {
  static constexpr vector_kernels kernels{"avx2", panel_functions, quantise,
                                          swiglu, to_f16,          attend};
  bool usable = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  return usable ? &kernels : nullptr;
}

} // namespace coel::cpu

#else

namespace coel::cpu {
const vector_kernels* avx2_kernels() {
  return nullptr;
}
} // namespace coel::cpu

#endif
