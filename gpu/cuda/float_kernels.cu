#include "gpu/cuda/entries.hpp"
#include "gpu/cuda/entry.cuh"

COEL_ENTRIES(float_entries, COEL_FLOAT_KERNELS)
