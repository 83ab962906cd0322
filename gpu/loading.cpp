#include "gpu/loading.hpp"

#include "gpu/panels.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace coel::gpu {

namespace {

/// Rows of a float matrix start at multiples of what a lane loads.
uint64_t padded(uint64_t bytes) {
  return (bytes + 15) / 16 * 16;
}

void copy_row(const compute::matrix_view& from, uint64_t row, uint64_t unit_bytes, std::byte* out) {
  uint64_t bytes = row_bytes(from.type, from.cols);
  std::memcpy(out, from.row(row), bytes);
  std::memset(out + bytes, 0, unit_bytes - bytes);
}

} // namespace

result<loader::stagings> loader::take() {
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto found = std::move(idle_.back());
      idle_.pop_back();
      return found;
    }
  }
  stagings made;
  for (auto& s : made) {
    auto memory = memory_->make_host(staging_bytes, "staging");
    if (!memory)
      return memory.err();
    for (auto* m : {&s.begun, &s.sent}) {
      auto made_mark = memory_->on().make_mark();
      if (!made_mark)
        return made_mark.err();
      *m = std::move(*made_mark);
    }
    s.memory = std::move(*memory);
  }
  return made;
}

void loader::give_back(stagings used) {
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(used));
}

/// Waits for what a staging block has sent.
result<void> loader::arrived(staging& s) {
  if (!std::exchange(s.under_way, false))
    return {};
  if (auto ok = memory_->on().wait(*s.sent); !ok)
    return ok;
  auto us = memory_->on().elapsed_us(*s.begun, *s.sent);
  if (us)
    bus_us_ += static_cast<uint64_t>(*us);
  return {};
}

/// Units are panels or padded rows; a unit larger than the staging block goes in one copy of its
/// own from ordinary memory.
result<void> loader::send(const compute::matrix_view& from, bool panels, uint64_t unit_bytes,
                          uint64_t units, std::byte* to, stagings& by) {
  card& on = memory_->on();
  uint64_t at_once = std::max<uint64_t>(1, staging_bytes / unit_bytes);
  std::vector<std::byte> large(unit_bytes > staging_bytes ? unit_bytes : 0);
  for (uint64_t first = 0, turn = 0; first < units; first += at_once, ++turn) {
    auto& s = by[turn % 2];
    if (auto ok = arrived(s); !ok)
      return ok;
    std::byte* out = large.empty() ? s.memory.data() : large.data();
    uint64_t count = std::min(at_once, units - first);
    for (uint64_t i = 0; i < count; ++i)
      if (panels)
        pack_panel(from, first + i, out + i * unit_bytes);
      else
        copy_row(from, first + i, unit_bytes, out + i * unit_bytes);
    if (auto ok = on.set(*s.begun, lane::transfer); !ok)
      return ok;
    if (auto ok = on.copy(lane::transfer, to + first * unit_bytes, out, count * unit_bytes); !ok)
      return ok;
    if (auto ok = on.set(*s.sent, lane::transfer); !ok)
      return ok;
    s.under_way = true;
    if (!large.empty())
      if (auto ok = arrived(s); !ok)
        return ok;
  }
  for (auto& s : by)
    if (auto ok = arrived(s); !ok)
      return ok;
  return {};
}

result<compute::weight_ptr> loader::load(const compute::matrix_view& from,
                                         compute::weight_use use) {
  if (use == compute::weight_use::far_expert)
    use = compute::weight_use::project;
  auto began = std::chrono::steady_clock::now();
  bool panels = use == compute::weight_use::project && is_quantised(from.type);
  uint64_t unit_bytes = panels ? panel_bytes(from.type, from.cols)
                        : use == compute::weight_use::lookup
                            ? row_bytes(from.type, from.cols)
                            : padded(row_bytes(from.type, from.cols));
  uint64_t units = panels ? panels_of(from.rows) : from.rows;
  auto memory = memory_->make(units * unit_bytes, "weight");
  if (!memory)
    return memory.err();
  auto by = take();
  if (!by)
    return by.err();
  if (auto ok = send(from, panels, unit_bytes, units, memory->data(), *by); !ok)
    return ok.err();
  give_back(std::move(*by));
  bytes_ += units * unit_bytes;
  us_ += static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                   std::chrono::steady_clock::now() - began)
                                   .count());
  return compute::weight_ptr(
      std::make_shared<card_weight>(from, use, unit_bytes, std::move(*memory), memory_.get()));
}

} // namespace coel::gpu
