#include "gpu/cuda/entries.hpp"
#include "gpu/cuda/entry.cuh"

COEL_ENTRIES(k_entries, COEL_K_KERNELS)
