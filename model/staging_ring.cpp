#include "model/staging_ring.hpp"

#include "model/direct_file.hpp"

#include <sys/mman.h>

namespace coel::model {

result<staging_ring_ptr> staging_ring::make(uint64_t slot_bytes, uint32_t slots) {
  if (slot_bytes == 0 || slots == 0)
    return {ec::bad_argument, "a staging ring needs slots and bytes in them"};
  constexpr auto page = direct_file::alignment;
  slot_bytes = (slot_bytes + page - 1) / page * page;
  void* memory = ::mmap(nullptr, slot_bytes * slots, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return {ec::out_of_memory,
            "no room for a staging ring of " + std::to_string(slot_bytes * slots) + " bytes"};
  ::madvise(memory, slot_bytes * slots, MADV_HUGEPAGE); // fewer pages to pin for every read
  return staging_ring_ptr(new staging_ring(static_cast<std::byte*>(memory), slot_bytes, slots));
}

staging_ring::~staging_ring() {
  ::munmap(base_, bytes());
}

} // namespace coel::model
