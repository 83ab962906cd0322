// A kernel set that streams packed weights through vector functions.
#pragma once

#include "cpu/planner.hpp"
#include "cpu/vector_kernels.hpp"

namespace coel::cpu {

class packed_set : public kernel_set {
 public:
  explicit packed_set(const vector_kernels& kernels) : kernels_(kernels) {}

  std::string_view name() const override { return kernels_.name; }
  result<compute::weight_ptr> load(const compute::matrix_view& matrix,
                                   const budget_ptr& from) const override;
  const compute::kept_layout* layout() const override;
  bool owns(const compute::weight& w) const override;
  void plan(planner& out, const compute::project& op) const override;
  void plan(planner& out, const compute::attend& op) const override;
  void plan(planner& out, const compute::run_experts& op) const override;

 private:
  const vector_kernels& kernels_;
};

} // namespace coel::cpu
