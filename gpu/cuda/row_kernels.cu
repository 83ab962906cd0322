#include "gpu/cuda/entries.hpp"
#include "gpu/cuda/entry.cuh"

COEL_ENTRIES(row_entries, COEL_ROW_KERNELS)
