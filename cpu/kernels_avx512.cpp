// The AVX-512 VNNI kernels. Only what lies between push_options and pop_options is compiled for
// that instruction set: the program itself runs anywhere. Nothing there may instantiate a template
// of the standard library, as the linker could keep that copy for everyone.
#include "cpu/packed.hpp"
#include "cpu/vector_kernels.hpp"

#include <array>
#include <cmath>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")

#include "cpu/simd_avx512.hpp"

namespace coel::cpu {
namespace simd = avx512;
// clang-format off
#include "cpu/panel_kernels.hpp"
#include "cpu/row_kernels.hpp"
// clang-format on

} // namespace coel::cpu

#pragma GCC pop_options

namespace coel::cpu {

const vector_kernels* avx512_vnni_kernels() {
  static constexpr vector_kernels kernels{"avx512-vnni", panel_functions, quantise,
                                          swiglu,        to_f16,          attend};
  bool usable = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vnni");
  return usable ? &kernels : nullptr;
}

} // namespace coel::cpu

#else

namespace coel::cpu {
const vector_kernels* avx512_vnni_kernels() {
  return nullptr;
}
} // namespace coel::cpu

#endif
