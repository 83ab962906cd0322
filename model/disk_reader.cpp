#include "model/disk_reader.hpp"

#include <cmath>

namespace coel::model {

namespace {

using steady = std::chrono::steady_clock;

double seconds(steady::duration d) {
  return std::chrono::duration<double>(d).count();
}

/// Bytes over the time in which something was read, forgetting with a half-life of a second of
/// reading.
class rate_meter {
 public:
  void begin(steady::time_point now) { busy_since_ = now; }
  void add(uint64_t bytes, steady::time_point now) {
    double took = seconds(now - busy_since_);
    busy_since_ = now;
    double keep = std::exp2(-took);
    bytes_ = bytes_ * keep + static_cast<double>(bytes);
    seconds_ = seconds_ * keep + took;
  }
  double per_s() const { return seconds_ > 0 ? bytes_ / seconds_ : 0; }

 private:
  steady::time_point busy_since_;
  double bytes_ = 0, seconds_ = 0;
};

} // namespace

class disk_reader::core : public std::enable_shared_from_this<core> {
 public:
  core(staging_ring_ptr ring, const read_queue::limits& how) : queue_(std::move(ring), how) {}

  void start(const options& how) {
    engine_ = how.engine(how.limits.in_flight, [this](uint64_t tag, int64_t outcome) {
      finished(tag, outcome);
    });
  }

  /// Nothing is read when it returns.
  void stop() {
    change([this] {
      ending_ = true;
      queue_.fail_all({ec::shutting_down, "the node drains: it reads no more"});
    });
    engine_.reset();
  }

  result<read_ticket> submit(std::vector<file_piece> pieces, read_priority priority, done then,
                             read_target into) {
    auto since = steady::now();
    bool demand = priority == read_priority::demand;
    auto outcome = [me = shared_from_this(), then = std::move(then), since,
                    demand](result<read_bytes> got) {
      if (!got)
        return then(got.err());
      auto took = steady::now() - since;
      if (demand)
        me->note_demand(seconds(took) * 1e6);
      auto owner = got->slot ? me->owner_of(*got->slot) : std::move(got->owner);
      then(staged_read{std::move(got->pieces), std::move(owner), got->read,
                       static_cast<uint64_t>(seconds(took) * 1e6)});
    };
    result<read_ticket> ticket = error{ec::shutting_down, "the node drains: it reads no more"};
    change([&] {
      if (!ending_)
        ticket = queue_.add(std::move(pieces), priority, std::move(outcome), std::move(into));
    });
    return ticket;
  }

  bool promote(read_ticket which) {
    bool did = false;
    change([&] { did = queue_.promote(which); });
    return did;
  }

  bool cancel(read_ticket which) {
    bool did = false;
    change([&] { did = queue_.cancel(which); });
    return did;
  }

  disk_reader_status status() const {
    std::lock_guard lock(mutex_);
    return {engine_ ? engine_->name() : "", queue_.ring()->bytes(), queue_.waiting(),
            rate_.per_s(), demand_us_, queue_.counted()};
  }

 private:
  void finished(uint64_t tag, int64_t outcome) {
    change([&] {
      rate_.add(outcome > 0 ? static_cast<uint64_t>(outcome) : 0, steady::now());
      queue_.finished(tag, outcome);
    });
  }

  /// Changes the queue, begins what may begin, and then tells those who waited.
  template <class Change>
  void change(Change what) {
    std::vector<std::function<void()>> due;
    {
      std::lock_guard lock(mutex_);
      what();
      bool idle = queue_.in_flight() == 0;
      while (auto read = queue_.next()) {
        if (std::exchange(idle, false))
          rate_.begin(steady::now());
        engine_->read(*read);
      }
      due = queue_.take_outcomes();
    }
    for (auto& tell : due)
      tell();
  }

  std::shared_ptr<const void> owner_of(uint32_t slot) {
    return {queue_.ring()->slot(slot), [ring = queue_.ring(), to = weak_from_this(),
                                        slot](const void*) {
              if (auto me = to.lock())
                me->change([&] { me->queue_.release(slot); });
            }};
  }

  void note_demand(double us) {
    std::lock_guard lock(mutex_);
    demand_us_ = demand_us_ > 0 ? demand_us_ + (us - demand_us_) / 16 : us;
  }

  mutable std::mutex mutex_;
  read_queue queue_;
  rate_meter rate_;
  double demand_us_ = 0;
  bool ending_ = false;
  read_engine_ptr engine_;
};

result<std::unique_ptr<disk_reader>> disk_reader::start(const options& how) {
  auto ring = staging_ring::make(how.slot_bytes, how.slots);
  if (!ring)
    return ring.err();
  if (how.limits.in_flight == 0)
    return {ec::bad_argument, "a disk reader needs at least one read at a time"};
  auto c = std::make_shared<core>(*ring, how.limits);
  c->start(how);
  return std::unique_ptr<disk_reader>(new disk_reader(std::move(c)));
}

disk_reader::~disk_reader() {
  core_->stop();
}

result<read_ticket> disk_reader::submit(std::vector<file_piece> pieces, read_priority priority,
                                        done then, read_target into) {
  return core_->submit(std::move(pieces), priority, std::move(then), std::move(into));
}

bool disk_reader::promote(read_ticket which) {
  return core_->promote(which);
}

bool disk_reader::cancel(read_ticket which) {
  return core_->cancel(which);
}

disk_reader_status disk_reader::status() const {
  return core_->status();
}

} // namespace coel::model
