// Repeated measurements and what is said about them.
#pragma once

#include <vector>

namespace coel::bench {

/// Values of one quantity over repetitions. Never empty when asked for a figure.
struct series {
  std::vector<double> values;

  double median() const;
  double least() const;
  double most() const;
  /// Half the range between the quartiles, as a share of the median: how far to trust the median.
  double spread() const;
};

} // namespace coel::bench
