// Entries of kernels for a card: included by each file that makes some of them.
#pragma once

#include "gpu/kernels.hpp"

#define COEL_ENTRY(name, Args, threads, body)                                                      \
  __global__ void __launch_bounds__(threads) entry_##name(const __grid_constant__ Args args) {     \
    body(args);                                                                                    \
  }
#define COEL_ADDRESS(name, Args, threads, body) reinterpret_cast<const void*>(&entry_##name),

/// The entries of a list, and `name`, a table of their addresses.
#define COEL_ENTRIES(name, kernels)                                                                \
  namespace coel::gpu {                                                                            \
  namespace {                                                                                      \
  kernels(COEL_ENTRY)                                                                              \
  }                                                                                                \
  const void* const name[] = {kernels(COEL_ADDRESS)};                                              \
  }
