#include "model/read_queue.hpp"

#include <algorithm>
#include <cstring>
#include <set>

namespace coel::model {

namespace {

constexpr uint64_t down(uint64_t x) {
  return x / direct_file::alignment * direct_file::alignment;
}
constexpr uint64_t up(uint64_t x) {
  return down(x + direct_file::alignment - 1);
}

error cancelled_job() {
  return {ec::cancelled, "a read ahead was given up: nobody waits for it"};
}

} // namespace

read_queue::read_queue(staging_ring_ptr ring, limits how) : ring_(std::move(ring)), how_(how) {
  how_.chunk_bytes = std::max(up(how_.chunk_bytes), direct_file::alignment);
  how_.demand_slots = std::min(how_.demand_slots, ring_->slots() - 1);
  for (uint32_t i = ring_->slots(); i > 0; --i)
    free_slots_.push_back(i - 1);
}

/// Extents in order of the pieces; a piece that begins where the last one ended shares its extent,
/// so an expert whose matrices follow each other is one long read. False if a slot is too small.
bool read_queue::lay_out(job& j) const {
  uint64_t at = 0, last_end = 0;
  for (const auto& p : j.pieces) {
    bool follows =
        !j.extents.empty() && j.extents.back().file == p.file && last_end == p.offset;
    if (!follows) {
      if (!j.extents.empty())
        at += j.extents.back().end - j.extents.back().offset;
      j.extents.push_back({p.file, down(p.offset), 0, at, 0});
    }
    auto& e = j.extents.back();
    last_end = p.offset + p.bytes;
    e.end = up(last_end);
    e.needed_end = std::min(e.end, p.file->size());
    j.places.emplace_back(j.extents.size() - 1, p.offset - e.offset + e.at);
    if (e.at + (e.end - e.offset) > (j.into.at ? j.into.bytes : ring_->slot_bytes()))
      return false;
  }
  return true;
}

result<read_ticket> read_queue::add(std::vector<file_piece> pieces, read_priority priority,
                                    outcome done, read_target into) {
  if (pieces.empty())
    return {ec::bad_argument, "a read needs a piece of a file"};
  for (const auto& p : pieces)
    if (p.bytes == 0 || p.bytes > p.file->size() || p.offset > p.file->size() - p.bytes)
      return {ec::bad_argument, p.file->path().string() + ": bytes " + std::to_string(p.offset) +
                                    " to " + std::to_string(p.offset + p.bytes) +
                                    " are not in the file"};
  job j;
  j.pieces = std::move(pieces);
  j.done = std::move(done);
  j.priority = priority;
  j.into = std::move(into);
  if (j.into.at && reinterpret_cast<uintptr_t>(j.into.at) % direct_file::alignment != 0)
    return {ec::bad_argument, "memory that is read into must begin on a page"};
  if (!lay_out(j))
    return {ec::bad_argument,
            "a read is larger than the " +
                std::to_string(j.into.at ? j.into.bytes : ring_->slot_bytes()) +
                " bytes that it is read into"};
  j.read_to = j.extents.front().offset;
  read_ticket id{next_ticket_++};
  jobs_.emplace(id, std::move(j));
  (priority == read_priority::demand ? demands_ : prefetches_).push_back(id);
  return id;
}

void read_queue::drop_from_order(read_ticket id) {
  std::erase(demands_, id);
  std::erase(prefetches_, id);
}

bool read_queue::promote(read_ticket which) {
  auto at = jobs_.find(which);
  if (at == jobs_.end() || at->second.ends || at->second.priority == read_priority::demand)
    return false;
  at->second.priority = read_priority::demand;
  ++counts_.promoted;
  auto waiting = std::find(prefetches_.begin(), prefetches_.end(), which);
  if (waiting != prefetches_.end()) {
    prefetches_.erase(waiting);
    demands_.push_back(which);
  }
  return true;
}

bool read_queue::cancel(read_ticket which) {
  auto at = jobs_.find(which);
  if (at == jobs_.end() || at->second.ends)
    return false;
  at->second.ends = cancelled_job();
  settle(which);
  return true;
}

void read_queue::fail_all(const error& why) {
  std::vector<read_ticket> all;
  for (auto& [id, j] : jobs_) {
    if (!j.ends)
      j.ends = why;
    all.push_back(id);
  }
  for (auto id : all)
    settle(id);
}

bool read_queue::may_begin(const job& j, bool prefetch) const {
  return j.into.at || j.slot || free_slots_.size() > (prefetch ? how_.demand_slots : 0);
}

std::byte* read_queue::base(const job& j) const {
  return j.into.at ? j.into.at : ring_->slot(*j.slot);
}

raw_read read_queue::cut(read_ticket id, job& j, bool prefetch) {
  if (!j.into.at && !j.slot) {
    j.slot = free_slots_.back();
    free_slots_.pop_back();
  }
  const auto& e = j.extents[j.extent_now];
  uint64_t end = std::min(j.read_to + how_.chunk_bytes, e.end);
  flight f;
  f.of = id;
  f.what = {e.file->descriptor(), j.read_to, end - j.read_to,
            base(j) + e.at + (j.read_to - e.offset), next_tag_++};
  f.needed = std::min(end, e.needed_end) - j.read_to;
  f.prefetch = prefetch;
  f.file = e.file;
  j.read_to = end;
  if (end == e.end && ++j.extent_now < j.extents.size())
    j.read_to = j.extents[j.extent_now].offset;
  ++j.under_way;
  prefetching_ += prefetch;
  return flights_.emplace(f.what.tag, f).first->second.what;
}

std::optional<raw_read> read_queue::next_of(std::deque<read_ticket>& order, bool prefetch) {
  for (auto id : order) {
    auto& j = jobs_.at(id);
    if (!may_begin(j, prefetch))
      continue;
    auto what = cut(id, j, prefetch);
    if (j.asked_for_all())
      std::erase(order, id);
    return what;
  }
  return {};
}

std::optional<raw_read> read_queue::next() {
  if (flights_.size() >= how_.in_flight)
    return {};
  if (!repeats_.empty()) {
    auto f = std::move(repeats_.front());
    repeats_.pop_front();
    f.what.tag = next_tag_++;
    prefetching_ += f.prefetch;
    return flights_.emplace(f.what.tag, f).first->second.what;
  }
  if (auto what = next_of(demands_, false))
    return what;
  if (prefetching_ >= how_.prefetch_in_flight)
    return {};
  return next_of(prefetches_, true);
}

/// What a read that brought too little leaves to be read; false where it is hopeless.
bool read_queue::try_again(flight& f, int64_t result) {
  uint64_t got = result > 0 ? down(static_cast<uint64_t>(result)) : 0;
  if (got == 0 && ++f.attempt > how_.attempts)
    return false;
  f.what.offset += got;
  f.what.into += got;
  f.what.bytes -= got;
  f.needed -= got;
  ++counts_.repeats;
  return true;
}

void read_queue::finished(uint64_t tag, int64_t result) {
  auto node = flights_.extract(tag);
  auto f = std::move(node.mapped());
  prefetching_ -= f.prefetch;
  auto& j = jobs_.at(f.of);
  if (result >= 0)
    j.bytes += static_cast<uint64_t>(result);
  bool enough = result >= 0 && static_cast<uint64_t>(result) >= f.needed;
  if (!enough && !j.ends && try_again(f, result)) {
    repeats_.push_back(std::move(f));
    return;
  }
  if (!enough && !j.ends)
    j.ends = result < 0
                 ? error{ec::io, f.file->path().string() + ": cannot read at byte " +
                                     std::to_string(f.what.offset) + ": " +
                                     std::strerror(static_cast<int>(-result))}
                 : error{ec::bad_file, f.file->path().string() + ": ends before byte " +
                                           std::to_string(f.what.offset + f.needed) +
                                           ", which it had when it was opened: put the file back "
                                           "and restart the node"};
  --j.under_way;
  settle(f.of);
}

result<void> read_queue::check_files(const job& j) const {
  std::set<const direct_file*> seen;
  for (const auto& e : j.extents)
    if (seen.insert(e.file.get()).second)
      if (auto ok = e.file->check_unchanged(); !ok)
        return ok;
  return {};
}

/// Ends a job that has nothing more to read.
void read_queue::settle(read_ticket id) {
  auto at = jobs_.find(id);
  auto& j = at->second;
  if (j.ends) {
    drop_from_order(id);
    j.under_way -= static_cast<uint32_t>(
        std::erase_if(repeats_, [&](const flight& f) { return f.of == id; }));
  }
  if (j.under_way || !(j.ends || j.asked_for_all()))
    return;
  for (const auto& e : j.extents)
    e.file->drop_cached(e.offset, e.end - e.offset);
  if (!j.ends)
    if (auto same = check_files(j); !same)
      j.ends = same.err();
  if (j.ends) {
    ++(j.ends->code == ec::cancelled ? counts_.cancelled : counts_.failed);
    counts_.wasted_bytes += j.bytes;
    if (j.slot)
      release(*j.slot);
    due_.push_back([done = std::move(j.done), why = std::move(*j.ends)] { done(why); });
  } else {
    bool demand = j.priority == read_priority::demand;
    ++(demand ? counts_.demand_jobs : counts_.prefetch_jobs);
    (demand ? counts_.demand_bytes : counts_.prefetch_bytes) += j.bytes;
    read_bytes got{j.slot, j.into.owner, {}, j.bytes};
    for (size_t i = 0; i < j.pieces.size(); ++i)
      got.pieces.emplace_back(base(j) + j.places[i].second, j.pieces[i].bytes);
    due_.push_back([done = std::move(j.done), got = std::move(got)] { done(got); });
  }
  jobs_.erase(at);
}

void read_queue::release(uint32_t slot) {
  free_slots_.push_back(slot);
}

} // namespace coel::model
