// Supplies layer steps with a model's experts when not all of these fit in memory: which are read,
// kept, lent and let go of. Events in, orders out: it knows no thread, no clock and no disk.
//
// All memory for routed experts is one pool. An expert takes its bytes before its read begins and
// has them until it is let go of, so what has been read always has its place, and the pool is never
// exceeded. The least valuable makes room (cache_value.hpp): what was read for one use and is worth
// less than all others is the next to go.
//
// A step's experts are lent in the order in which it runs them. So the first that the oldest step
// lacks may take the memory of any that is not lent; whatever fails or is late, it is read in the
// end, and every step ends: by having run, by an error, or by being given up.
#pragma once

#include "common/result.hpp"
#include "policy/cache_value.hpp"

#include <map>
#include <vector>

namespace coel::policy {

struct supply_limits {
  uint64_t pool_bytes = 0; ///< at least the largest expert
  uint32_t jobs = 1;       ///< experts being read or packed at once
  uint32_t jobs_ahead = 0; ///< of these, such that no step waits for
};

struct supply_order {
  enum class what : uint8_t {
    read,   ///< `key`, for a step if `urgent`; was_read(job) answers; if `ahead`, it may be when it
            ///< is hurried or cancelled and not before
    hurry,  ///< a step waits now for what `job` reads
    cancel, ///< nobody wants what `job` reads; it answers all the same, soon
    pack,   ///< bring what `job` has read into the device's layout; was_packed(job) answers
    drop,   ///< forget what `job` has read
    ready,  ///< what `job` reads is kept though no step waits: pack it as soon as it is read
    lend,   ///< `step` may run `key`, the next in its order; if `lower`, its copy of fewer bits
    fail,   ///< `step` is over, for `why`
    evict,  ///< let go of `key`; freed(key) when nobody has its memory any more
  };
  what kind{};
  expert_key key;
  uint64_t job = 0;
  uint64_t step = 0;
  bool urgent = false, ahead = false, lower = false;
  error why;
};

class expert_supply {
 public:
  enum class state : uint8_t { absent, reading, packing, resident };
  /// How a step found an expert.
  enum class found : uint8_t {
    here,
    foreseen, ///< here, because it had been read ahead
    coming,   ///< being read ahead
    missing,
    lower, ///< not waited for: a copy of fewer bits runs
  };
  /// An expert that a layer's next turn may need.
  struct wish {
    expert_key key;
    float probability = 0;
  };

  /// `bytes` [layers, experts], each as large as it may be in memory.
  expert_supply(cache_shape shape, std::vector<uint64_t> bytes, const supply_limits& limits,
                cache_value_ptr rule);

  /// A step of a layer wants these, in this order, each once; numbers of steps rise. What was
  /// foreseen for the layer's turn and is not wanted is given up. `lower` [wanted], or empty: those
  /// of which a copy of fewer bits runs unless they are here; they are read behind what anybody
  /// waits for if they are worth clearly more than something that is here.
  std::vector<found> begin(uint64_t step, layer_id layer, std::span<const expert_use> wanted,
                           uint32_t rows, std::span<const uint8_t> lower = {});
  /// It has run so many more of what it was lent.
  void ran(uint64_t step, uint32_t count);
  /// It is over, whatever it still wanted. Of a step that has failed: nothing.
  void end(uint64_t step);

  /// To be read ahead, most wanted first, or kept if it is here: until its layer's next turn. Makes
  /// room only from what is less likely to be used.
  void foresee(std::span<const wish> wishes);
  /// To be read while there is free memory.
  void fill(std::vector<expert_key> keys);
  bool filling() const { return !to_fill_.empty() || fills_ > 0; }

  /// Each job is answered once. Errors: cancelled, or why it failed; a step that waits for it sees
  /// one more try before it fails.
  void was_read(uint64_t job, const result<void>& outcome);
  void was_packed(uint64_t job, const result<void>& outcome);
  void freed(expert_key key);

  /// The pool has another size from now on: what is over it goes as soon as nobody needs it. With
  /// less than the largest expert, steps get theirs one by one, and nothing stays.
  void resize(uint64_t pool_bytes);

  /// What is to be done now, in this order. Doing some of it may be the next event.
  std::vector<supply_order> take_orders();

  state is(expert_key key) const { return at(key).is; }
  double value(expert_key key) const { return rule_->value(key); }
  uint64_t used_bytes() const { return used_; }
  uint64_t pool_bytes() const { return limits_.pool_bytes; }
  size_t open_steps() const { return steps_.size(); }
  struct counts {
    uint64_t failed = 0;       ///< jobs
    uint64_t wasted_bytes = 0; ///< of experts that were read and let go of without a use
  };
  const counts& counted() const { return counts_; }

 private:
  enum class need : uint8_t { fill, keep, ahead, demand, first };
  struct entry {
    state is = state::absent;
    uint32_t waiting = 0, lent = 0; ///< steps
    float expected = 0;             ///< probability that the layer's next turn needs it
    bool fill = false;
    bool keep = false;                      ///< for what it is worth, whoever waits
    bool urgent = false, cancelled = false; ///< what its job was told
    bool unused = false, ahead = false;     ///< since it was read
    uint64_t job = 0;
  };
  /// [0, ran) of `wanted` are through, [ran, lent) are lent, the rest is waited for.
  struct open_step {
    std::vector<expert_key> wanted;
    std::vector<bool> lower; ///< of these: run as copies
    size_t lent = 0, ran = 0;
    std::map<expert_key, uint32_t> failures;
  };

  entry& at(expert_key key) { return entries_[shape_.slot(key)]; }
  const entry& at(expert_key key) const { return entries_[shape_.slot(key)]; }
  uint64_t bytes(expert_key key) const { return bytes_[shape_.slot(key)]; }
  static bool wanted(const entry& e) { return e.waiting || e.expected > 0 || e.fill || e.keep; }

  found claim(expert_key key);
  void close(uint64_t step);
  void give_up_turn(layer_id layer);
  void keep_for_worth(expert_key key);
  void give_up_if_unwanted(expert_key key);
  void job_failed(uint64_t job, const error& why);
  void settle();
  void shrink();
  void lend();
  bool start_demands();
  void start_ahead();
  void start_kept();
  void start_fill();
  bool start(expert_key key, need why);
  bool make_room(expert_key key, need why);
  bool find_victim(need why, double worth, expert_key& out) const;
  bool last_waiting(expert_key& out) const;
  bool cancel_one_ahead();
  void evict(expert_key key);
  void end_fill(entry& e);
  uint32_t ahead_jobs() const;
  void order(supply_order::what kind, expert_key key, uint64_t job = 0, uint64_t step = 0);

  cache_shape shape_;
  std::vector<uint64_t> bytes_;
  supply_limits limits_;
  cache_value_ptr rule_;
  std::vector<entry> entries_;
  std::map<uint64_t, open_step> steps_;
  std::map<uint64_t, expert_key> jobs_;
  std::vector<wish> wishes_;
  std::vector<expert_key> to_keep_;
  std::vector<expert_key> to_fill_; ///< last first
  uint32_t fills_ = 0;              ///< under way
  uint64_t used_ = 0;               ///< of the pool: read, packed, here, and leaving
  uint64_t leaving_ = 0;            ///< of these, let go of and not freed yet
  uint64_t next_job_ = 1;
  std::vector<supply_order> orders_;
  counts counts_;
};

} // namespace coel::policy
