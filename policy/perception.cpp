#include "policy/perception.hpp"

#include <algorithm>
#include <cmath>

namespace coel::policy {

namespace {

constexpr uint8_t present = 0x80;
constexpr uint8_t whole = 100;

uint8_t round_percent(double x) {
  return static_cast<uint8_t>(std::lround(std::clamp(x, 0.0, double{whole})));
}

double percent_of(double x) {
  return std::isfinite(x) ? std::clamp(x, 0.0, 1.0) * whole : 0.0;
}

/// Multiplication instead of a distribution: those differ between libraries, and simulations are
/// to be the same everywhere.
moment up_to(moment limit, std::mt19937& random) {
  auto drawn = static_cast<uint64_t>(random()) * static_cast<uint64_t>(limit.count() + 1);
  return moment(static_cast<int64_t>(drawn >> 32));
}

} // namespace

uint8_t to_status_byte(std::optional<uint8_t> percent) {
  return percent ? static_cast<uint8_t>(present | std::min(*percent, whole)) : uint8_t{0};
}

std::optional<uint8_t> from_status_byte(uint8_t byte) {
  uint8_t percent = byte & 0x7f;
  if (!(byte & present) || percent > whole)
    return {};
  return percent;
}

node_load measure_load(double busy, std::span<const memory_room> rooms) {
  double least = rooms.empty() ? 0.0 : double{whole};
  for (const auto& room : rooms)
    least = std::min(least, percent_of(static_cast<double>(room.free_bytes) /
                                       static_cast<double>(room.total_bytes)));
  return {percent_of(1 - busy), least};
}

hello_schedule::hello_schedule(hello_options options, uint32_t seed, moment now)
    : options_(options), random_(seed), since_(now), last_(now - options.least_gap) {
  periodic_ = now + up_to(options_.jitter, random_); // nodes that start together do not collide
}

double hello_schedule::decay(moment now) const {
  std::chrono::duration<double> passed = now - since_;
  std::chrono::duration<double> smoothing = options_.smoothing;
  return smoothing.count() > 0 ? std::exp(-std::max(0.0, passed / smoothing)) : 0.0;
}

void hello_schedule::set_load(const node_load& load, moment now) {
  move_to(now);
  auto valid = [](double x) { return std::isfinite(x) ? std::clamp(x, 0.0, double{whole}) : 0.0; };
  compute_.target = valid(load.compute_percent);
  memory_.target = valid(load.memory_percent);
  if (!loaded_) { // the first is where the averages begin
    compute_.value = compute_.target;
    memory_.value = memory_.target;
  }
  loaded_ = true;
}

double hello_schedule::farthest() const {
  return std::max(std::abs(compute_.value - *said_.compute),
                  std::abs(memory_.value - *said_.memory));
}

void hello_schedule::move_to(moment now) {
  double decayed = decay(now);
  for (auto* x : {&compute_, &memory_})
    x->value = x->target + (x->value - x->target) * decayed;
  since_ = now;
}

/// When the average will have moved `urgent` points away from what was said. It approaches its
/// target and never turns, so this is known beforehand.
moment hello_schedule::urgent_at(const average& x, uint8_t said) const {
  if (std::abs(x.value - said) >= options_.urgent)
    return since_;
  double away = x.target - said;
  if (std::abs(away) <= options_.urgent)
    return moment::max();
  double wanted = said + std::copysign(options_.urgent, away);
  std::chrono::duration<double> smoothing = options_.smoothing;
  std::chrono::duration<double> wait =
      smoothing * std::log((x.target - x.value) / (x.target - wanted));
  return since_ + std::chrono::ceil<moment>(wait) + std::chrono::microseconds(1);
}

moment hello_schedule::next() const {
  auto due = periodic_;
  if (said_.compute)
    due = std::min({due, urgent_at(compute_, *said_.compute), urgent_at(memory_, *said_.memory)});
  return std::max(due, last_ + options_.least_gap);
}

free_resources hello_schedule::send(moment now) {
  move_to(now);
  if (loaded_ && (!said_.compute || farthest() >= options_.change)) {
    said_ = {round_percent(compute_.value), round_percent(memory_.value)};
    owed_ = 1 + options_.repeats;
  }
  ++silent_;
  bool carry = loaded_ && (owed_ > 0 || silent_ >= options_.refresh);
  if (carry) {
    owed_ -= std::min(owed_, 1u);
    silent_ = 0;
  }
  last_ = now;
  periodic_ = now + options_.interval - up_to(options_.jitter, random_);
  return carry ? said_ : free_resources{};
}

} // namespace coel::policy
