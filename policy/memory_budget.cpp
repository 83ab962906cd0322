#include "policy/memory_budget.hpp"

#include <algorithm>
#include <functional>

namespace coel::policy {

namespace {

constexpr uint32_t least_slots = 3, usual_slots = 8;
/// Of what a token reads: ahead, or while other experts of its layer run, less what that slows.
constexpr double hidden_share = 0.38;
/// Two threads that bring matrices into a device's layout: as memory lets them.
constexpr double pack_bytes_per_s = 7e9;
constexpr uint64_t largest_staging = uint64_t{256} << 20;

std::string text_of(uint64_t bytes) {
  constexpr uint64_t gib = uint64_t{1} << 30, mib = uint64_t{1} << 20;
  if (bytes >= gib) {
    auto tenths = (bytes * 10 + gib - 1) / gib;
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GiB";
  }
  return std::to_string((bytes + mib - 1) / mib) + " MiB";
}

uint64_t pinned(const memory_needs& n) {
  return n.dense_bytes + n.shared_bytes;
}

/// Experts of one token's layer and as many on their way.
uint64_t least_transient(const memory_needs& n) {
  return uint64_t{std::min(n.top_k + 1, n.experts)} * n.expert_bytes;
}

uint64_t fixed(const memory_needs& n) {
  return pinned(n) + n.step_bytes + n.process_bytes;
}

} // namespace

uint64_t least_budget(const memory_needs& n) {
  return fixed(n) + n.kv_page_bytes * n.kv_pages_least + least_slots * n.read_bytes +
         least_transient(n);
}

uint64_t full_budget(const memory_needs& n) {
  return fixed(n) + n.kv_page_bytes * n.kv_pages_wanted + n.routed_bytes;
}

result<memory_plan> plan_memory(const memory_needs& n, uint64_t budget) {
  memory_plan p;
  p.pinned_bytes = pinned(n);
  p.step_bytes = n.step_bytes;
  p.process_bytes = n.process_bytes;
  p.kv_pages = n.kv_pages_wanted;
  if (budget == 0 || budget >= full_budget(n)) {
    p.all_fit = true;
    p.kv_bytes = n.kv_page_bytes * p.kv_pages;
    p.cache_bytes = n.routed_bytes;
    p.cache_share = 1;
    return p;
  }
  if (auto least = least_budget(n); budget < least)
    return {ec::out_of_memory,
            "a budget of " + text_of(budget) +
                " is too little for this model: " + text_of(pinned(n)) +
                " are needed by every token, with buffers and room to read "
                "experts at least " +
                text_of(least) + ". Give --ram " + text_of(least) +
                ", take a file of fewer bits, or let more nodes share the model"};
  uint64_t left = budget - least_budget(n);
  // KV first, up to a quarter of what is left: a cache of experts only costs time.
  if (n.kv_page_bytes) {
    uint64_t more =
        std::min<uint64_t>(n.kv_pages_wanted - n.kv_pages_least, left / 4 / n.kv_page_bytes);
    p.kv_pages = n.kv_pages_least + static_cast<uint32_t>(more);
  }
  p.kv_bytes = n.kv_page_bytes * p.kv_pages;
  left -= n.kv_page_bytes * (p.kv_pages - n.kv_pages_least);
  p.staging_slots = least_slots;
  while (p.staging_slots < usual_slots && left / 16 > n.read_bytes &&
         (p.staging_slots + 1) * n.read_bytes <= largest_staging) {
    ++p.staging_slots;
    left -= n.read_bytes;
  }
  p.staging_bytes = p.staging_slots * n.read_bytes;
  // A prompt asks for all experts of a layer: more room for those lets reading run ahead.
  uint64_t extra = std::min(left / 16, uint64_t{n.experts} * n.expert_bytes);
  p.transient_bytes = least_transient(n) + extra;
  p.cache_bytes = left - extra;
  p.cache_share =
      n.routed_bytes
          ? std::min(1.0, static_cast<double>(p.cache_bytes) / static_cast<double>(n.routed_bytes))
          : 1;
  return p;
}

memory_plan plan_share(const memory_needs& n, double share) {
  memory_plan p;
  p.pinned_bytes = pinned(n);
  p.step_bytes = n.step_bytes;
  p.process_bytes = n.process_bytes;
  p.kv_pages = n.kv_pages_wanted;
  p.kv_bytes = n.kv_page_bytes * p.kv_pages;
  p.staging_slots = usual_slots;
  p.staging_bytes = p.staging_slots * n.read_bytes;
  p.cache_bytes = static_cast<uint64_t>(share * static_cast<double>(n.routed_bytes));
  p.cache_share = share;
  p.transient_bytes =
      least_transient(n) + std::min(p.cache_bytes / 16, uint64_t{n.experts} * n.expert_bytes);
  return p;
}

void set_aside(memory_plan& p, uint64_t lower_bytes) {
  lower_bytes = std::min(lower_bytes, p.cache_bytes);
  if (p.cache_bytes > 0)
    p.cache_share *=
        static_cast<double>(p.cache_bytes - lower_bytes) / static_cast<double>(p.cache_bytes);
  p.cache_bytes -= lower_bytes;
  p.lower_bytes += lower_bytes;
}

uint64_t total_bytes(const memory_plan& p) {
  return p.pinned_bytes + p.kv_bytes + p.step_bytes + p.process_bytes + p.staging_bytes +
         p.transient_bytes + p.cache_bytes + p.lower_bytes;
}

const hit_curve& usual_hit_curve() {
  static const hit_curve curve{{0, 0}, {0.125, 0.30}, {0.25, 0.49}, {0.5, 0.75}, {1, 1}};
  return curve;
}

hit_curve popularity_curve(std::vector<double> per_token) {
  std::sort(per_token.begin(), per_token.end(), std::greater<>());
  double total = 0, sum = 0;
  for (double p : per_token)
    total += p;
  if (total <= 0)
    return usual_hit_curve();
  hit_curve curve{{0, 0}};
  for (size_t i = 0; i < per_token.size(); ++i) {
    sum += per_token[i];
    curve.push_back(
        {static_cast<double>(i + 1) / static_cast<double>(per_token.size()), sum / total});
  }
  return curve;
}

double hits_at(const hit_curve& curve, double share) {
  if (curve.empty())
    return 0;
  share = std::clamp(share, 0.0, 1.0);
  for (size_t i = 1; i < curve.size(); ++i)
    if (share <= curve[i].share) {
      const auto &a = curve[i - 1], &b = curve[i];
      double t = b.share > a.share ? (share - a.share) / (b.share - a.share) : 1;
      return a.hits + t * (b.hits - a.hits);
    }
  return curve.back().hits;
}

speed_answer predict_speed(const memory_needs& needs, const memory_plan& plan,
                           const hit_curve& curve, const speed_question& speed) {
  speed_answer a;
  a.hits = plan.all_fit ? 1 : hits_at(curve, plan.cache_share);
  double experts = uint64_t{needs.layers} * needs.experts;
  double mean = experts > 0 ? static_cast<double>(needs.routed_bytes) / experts : 0;
  a.read_bytes_per_token = (1 - a.hits) * (1 - speed.answered) * needs.layers * needs.top_k * mean;
  if (a.read_bytes_per_token > 0 && speed.disk_bytes_per_s > 0) {
    double read_us = a.read_bytes_per_token / speed.disk_bytes_per_s * 1e6;
    double pack_us = speed.packed ? 0 : a.read_bytes_per_token / pack_bytes_per_s * 1e6;
    double hidden_us = std::min(hidden_share * (read_us + pack_us), speed.compute_us);
    a.stall_us_per_token = read_us + pack_us - hidden_us;
  }
  double us = speed.compute_us + a.stall_us_per_token;
  a.tokens_per_s = us > 0 ? 1e6 / us : 0;
  return a;
}

} // namespace coel::policy
