// What a kernel set can run: things that it, or the CPU device, made.
#pragma once

#include "compute/check.hpp"
#include "cpu/planner.hpp"

namespace coel::cpu {

class made_here : public compute::ownership {
 public:
  explicit made_here(const kernel_set& kernels) : kernels_(kernels) {}
  bool projects(const compute::weight& w) const override { return kernels_.owns(w); }
  bool looks_up(const compute::weight& w) const override {
    return dynamic_cast<const view_weight*>(&w) != nullptr;
  }
  bool caches(const compute::kv_cache& cache) const override {
    return dynamic_cast<const paged_kv*>(&cache) != nullptr;
  }

 private:
  const kernel_set& kernels_;
};

} // namespace coel::cpu
