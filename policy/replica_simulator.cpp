#include "policy/replica_simulator.hpp"

#include "policy/replica_choice.hpp"

#include <algorithm>
#include <cmath>
#include <queue>
#include <vector>

namespace coel::policy {

namespace {

constexpr double row_bytes = 2048;
constexpr double step_ms = 500; // load and links change at these

struct draws {
  std::mt19937_64 random;
  double unit() { return static_cast<double>(random() >> 11) * 0x1p-53; }
  double exponential(double mean) { return -mean * std::log(1 - unit()); }
  double normal() { // Box and Muller
    return std::sqrt(-2 * std::log(1 - unit())) * std::cos(6.283185307179586 * unit());
  }
  template <size_t N>
  double of(const double (&values)[N]) {
    return values[random() % N];
  }
};

struct reply_event {
  double at;
  uint64_t order;
  uint32_t home;
  uint64_t ticket;
  replica_reply reply;
  uint32_t replica;
  bool operator<(const reply_event& o) const {
    return at != o.at ? at > o.at : order > o.order; // the queue gives the greatest first
  }
};

class lan_simulator {
 public:
  lan_simulator(replica_rule rule, const replica_lan& lan)
      : rule_(rule),
        lan_(lan), world_{std::mt19937_64(lan.seed)}, choice_{std::mt19937_64(lan.seed + 1)},
        free_(lan.replicas), hello_(lan.replicas, 1.0),
        under_way_(lan.homes, std::vector<uint32_t>(lan.replicas)) {
    make_world();
    for (uint32_t h = 0; h < lan.homes; ++h) {
      homes_.emplace_back(lan.replicas, replica_options{0.03, 0.2, rule == replica_rule::trained});
      for (uint32_t r = 0; r < lan.replicas; ++r)
        homes_.back().expect(r, 5000, 1000 * rtt_[h][r], 1000 * wire_ms(h, r), 1000 * run_[r]);
    }
  }

  replica_latency run() {
    std::priority_queue<std::pair<double, uint32_t>, std::vector<std::pair<double, uint32_t>>,
                        std::greater<>>
        arrivals;
    for (uint32_t h = 0; h < lan_.homes; ++h)
      arrivals.push({world_.exponential(1000 / lan_.rate), h});
    while (arrivals.top().first < lan_.seconds * 1000) {
      auto [t, h] = arrivals.top();
      arrivals.pop();
      arrivals.push({t + world_.exponential(1000 / lan_.rate), h});
      hear_replies(t);
      say_hello(t);
      constexpr double rows[] = {1, 1, 1, 2, 4};
      dispatch(t, h, static_cast<uint32_t>(world_.of(rows)), std::exp(0.15 * world_.normal()));
    }
    return summary();
  }

 private:
  void make_world() {
    constexpr double runs[] = {0.8, 1.2, 2.0, 4.0, 1.0, 1.6, 3.0, 0.9};
    constexpr double rtts[] = {0.4, 1.0, 3.0, 8.0}, rates[] = {50, 200, 1000};
    run_.assign(runs, runs + lan_.replicas);
    auto steps = static_cast<size_t>(lan_.seconds * 1000 / step_ms) + 2;
    for (uint32_t h = 0; h < lan_.homes; ++h) {
      rtt_.emplace_back();
      mbit_.emplace_back();
      for (uint32_t r = 0; r < lan_.replicas; ++r) {
        rtt_.back().push_back(world_.of(rtts));
        mbit_.back().push_back(world_.of(rates));
      }
    }
    constexpr double loads[] = {1, 1, 2, 4, 7}, links[] = {1, 1, 1, 3, 8};
    auto walk = [&](double chance, const auto& values) {
      std::vector<double> out;
      double x = 1;
      for (size_t i = 0; i < steps; ++i) {
        if (world_.unit() < chance)
          x = world_.of(values);
        out.push_back(x);
      }
      return out;
    };
    for (uint32_t r = 0; r < lan_.replicas; ++r)
      load_.push_back(walk(0.06, loads));
    for (uint32_t i = 0; i < lan_.homes * lan_.replicas; ++i)
      link_.push_back(walk(0.04, links));
  }

  size_t step(double t) const { return static_cast<size_t>(t / step_ms); }
  double wire_ms(uint32_t h, uint32_t r) const { return 2 * row_bytes * 8 / (mbit_[h][r] * 1000); }
  double slow(uint32_t h, uint32_t r, double t) const {
    return link_[h * lan_.replicas + r][step(t)];
  }

  void hear_replies(double t) {
    while (!replies_.empty() && replies_.top().at <= t) {
      auto e = replies_.top();
      replies_.pop();
      --under_way_[e.home][e.replica];
      homes_[e.home].replied(e.ticket, e.reply, 1000 * e.at);
    }
  }

  /// Every 2 s everybody hears how busy the replicas are, in steps.
  void say_hello(double t) {
    if (t - hello_at_ <= 2000)
      return;
    hello_at_ = t;
    for (uint32_t r = 0; r < lan_.replicas; ++r) {
      double x = load_[r][step(t)] + std::max(0.0, free_[r] - t) / 20;
      hello_[r] = std::round(std::clamp(x, 1.0, 10.0) * 2) / 2;
      for (auto& h : homes_)
        h.heard_load(r, hello_[r] - 1);
    }
  }

  double truth(uint32_t h, uint32_t r, uint32_t rows, double t) const {
    double run = run_[r] * load_[r][step(t)] * (0.5 + 0.5 * rows);
    double way = (rtt_[h][r] + rows * wire_ms(h, r)) * slow(h, r, t);
    return std::max(0.0, free_[r] - (t + way / 2)) + run + way;
  }

  template <class Cost>
  uint32_t least(Cost cost) const {
    uint32_t best = 0;
    for (uint32_t r = 1; r < lan_.replicas; ++r)
      if (cost(r) < cost(best))
        best = r;
    return best;
  }

  uint32_t choose(uint32_t h, uint32_t rows, double t) {
    auto any = [&] { return static_cast<uint32_t>(choice_.random() % lan_.replicas); };
    switch (rule_) {
    case replica_rule::random:
      return any();
    case replica_rule::fixed_best:
      return least([&](uint32_t r) { return rtt_[h][r] + run_[r]; });
    case replica_rule::least_loaded:
      return least([&](uint32_t r) { return hello_[r] + 1e-3 * under_way_[h][r]; });
    case replica_rule::two_choices: {
      uint32_t a = any(),
               b = (a + 1 + static_cast<uint32_t>(choice_.random() % (lan_.replicas - 1))) %
                   lan_.replicas;
      return hello_[a] + under_way_[h][a] <= hello_[b] + under_way_[h][b] ? a : b;
    }
    case replica_rule::oracle:
      return least([&](uint32_t r) { return truth(h, r, rows, t); });
    case replica_rule::average:
    case replica_rule::trained:
      break;
    }
    uint32_t all[] = {0, 1, 2, 3, 4, 5, 6, 7};
    return homes_[h].choose(std::span(all, lan_.replicas), rows, 1000 * t, choice_.random);
  }

  void dispatch(double t, uint32_t h, uint32_t rows, double luck) {
    uint32_t r = choose(h, rows, t);
    double way = (rtt_[h][r] + rows * wire_ms(h, r)) * slow(h, r, t);
    double one = run_[r] * load_[r][step(t)];
    double run = one * (0.5 + 0.5 * rows) * luck;
    double arrives = t + way / 2, starts = std::max(arrives, free_[r]);
    double queue = (starts - arrives) / one;
    free_[r] = starts + run;
    double done = free_[r] + way / 2;
    auto ticket = homes_[h].sent(r, rows, 1000 * t);
    ++under_way_[h][r];
    replies_.push({done,
                   ticket * 8 + h,
                   h,
                   ticket,
                   {1000 * (done - t), 1000 * one * rows, queue, 1000 * rtt_[h][r] * slow(h, r, t)},
                   r});
    if (t > 5000)
      latency_.push_back(done - t);
  }

  replica_latency summary() {
    replica_latency out;
    out.dispatches = latency_.size();
    if (latency_.empty())
      return out;
    for (double x : latency_)
      out.mean_ms += x / static_cast<double>(latency_.size());
    auto at = latency_.begin() + static_cast<std::ptrdiff_t>(latency_.size() * 95 / 100);
    std::nth_element(latency_.begin(), at, latency_.end());
    out.p95_ms = *at;
    return out;
  }

  replica_rule rule_;
  replica_lan lan_;
  draws world_, choice_; // apart, so that every rule meets the same world
  std::vector<double> run_, free_, hello_, latency_;
  double hello_at_ = -1e9;
  std::vector<std::vector<double>> rtt_, mbit_, load_, link_;
  std::vector<std::vector<uint32_t>> under_way_;
  std::vector<replica_chooser> homes_;
  std::priority_queue<reply_event> replies_;
};

} // namespace

replica_latency simulate_replicas(replica_rule rule, const replica_lan& lan) {
  return lan_simulator(rule, lan).run();
}

} // namespace coel::policy
