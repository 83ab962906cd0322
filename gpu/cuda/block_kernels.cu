#include "gpu/cuda/entries.hpp"
#include "gpu/cuda/entry.cuh"

COEL_ENTRIES(block_entries, COEL_BLOCK_KERNELS)
