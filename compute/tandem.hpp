// A device made of two. The near one computes fast in a memory of its own that is too small for
// all experts; what it has no room for runs on the far one, beside it, where it lies. Whoever uses
// it sees one device: buffers, KV and all other weights are the near one's.
//
// A list is cut where it runs experts that lie far. Their input rows go to memory that both see,
// the far device adds up their outputs while the near one runs its own share, and the sum is added
// behind that: out += near experts, in the order of the tasks, then += those that were copied over,
// then += the far sum. So an output row depends on its own input row only, as everywhere, and on
// which of its experts lie where. Lists complete in their order; one without far experts goes to
// the near device as it is.
#pragma once

#include "compute/device.hpp"

#include <span>

namespace coel::compute {

/// An expert of a list that lies far.
struct far_use {
  uint64_t bytes = 0; ///< of its matrices
  uint32_t rows = 0;
  bool copyable = false; ///< its matrices as they were loaded can still be read
};

/// Which of them are brought to the near device for this list alone (indices of `uses`), rather
/// than run where they are. Must be short: it is called between two parts of a list.
using copy_choice = std::function<std::vector<uint32_t>(std::span<const far_use> uses)>;

/// How long things took; for choices of the next.
class tandem_observer {
 public:
  virtual ~tandem_observer() = default;
  /// The far device ran so many experts with so many rows and bytes in one go.
  virtual void ran_far(uint64_t bytes, uint64_t rows, uint32_t experts, uint64_t us) = 0;
  /// So much of weights was brought to the near device, for good or for one list.
  virtual void brought(uint64_t bytes, uint64_t us) = 0;
};

struct tandem_options {
  device_ptr near;
  device_ptr far;                            ///< its pointers are host memory
  copy_choice choose;                        ///< none: nothing is copied
  std::shared_ptr<tandem_observer> observer; ///< may be null
  /// Two of a kind, such as cards: experts that the near one has no room for go to the far one,
  /// whose memory is then part of this device's own.
  bool share_experts = false;
};

/// weight_use::far_expert loads into the far memory, all else into the near one; load_expert may
/// share.
device_ptr make_tandem(tandem_options options);

} // namespace coel::compute
