// Experts lie in memory from which the fast device cannot run them: each of a step's runs on the
// slow device, beside the fast one, or is copied over for this step alone. With one row the slow
// device reads it as fast as a bus does; with many rows it computes longer than the copy takes
// (Fiddler, arXiv 2402.07033). Pure: times come in, a choice goes out.
#pragma once

#include "policy/linear_fit.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace coel::policy {

struct copy_candidate {
  uint64_t bytes = 0;
  uint32_t rows = 0;
  bool copyable = false;
};

/// What copies and the slow device take, fitted to what was measured.
class copy_costs {
 public:
  void ran_slow(uint64_t bytes, uint64_t rows, uint32_t experts, double us);
  void copied(uint64_t bytes, double us);

  /// 0 where nothing has been measured.
  double slow_us(uint64_t bytes, uint32_t rows) const;
  double copy_us(uint64_t bytes) const;
  bool known() const { return copies_ > 0 && slow_.count() > 0; }

 private:
  linear_fit slow_; ///< by MiB, and MiB times rows
  double copy_us_per_mib_ = 0;
  uint64_t copies_ = 0;
};

struct copy_plan {
  std::vector<uint32_t> copies; ///< indices of the candidates, rising
  double us = 0;                ///< predicted: copies and the slow device run beside each other
  double alone_us = 0;          ///< if none is copied
};

/// Only those whose copy takes less than their rows on the slow device, whose processor has a part
/// in copies. Of them those with the most rows first, as many as shorten the step the most; none
/// unless that saves a tenth of it, or as long as a time is not known.
copy_plan plan_copies(std::span<const copy_candidate> all, const copy_costs& costs);

} // namespace coel::policy
