// One model with real experts on made up rows and routing; other nodes are played by the test.
#pragma once

#include "actors/errors.hpp"
#include "actors/expert.hpp"
#include "actors/hosting.hpp"
#include "actors/node.hpp"
#include "actors/tier.hpp"
#include "cpu/device.hpp"

#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace coel::actors::test {

using namespace std::chrono_literals;

constexpr auto generous = 20s;
constexpr node_id here{0}, there{1}, elsewhere{2};
constexpr layer_id layer{1};
constexpr uint32_t rows = 5;

/// Somebody waits here until the test lets him through.
class doorway {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++came_;
    changed_.notify_all();
    changed_.wait_for(lock, generous, [this] { return open_; });
  }
  void wait_until_reached(int times = 1) {
    std::unique_lock lock(mutex_);
    BOOST_REQUIRE(changed_.wait_for(lock, generous, [&] { return came_ >= times; }));
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int came_ = 0;
  bool open_ = false;
};

/// Keeps a device from running what is submitted from now on.
class busy_device {
 public:
  explicit busy_device(compute::device& d) {
    d.submit({}, [door = door_](const compute::completion_info&) { door->pass(); });
    door_->wait_until_reached();
  }
  ~busy_device() { end(); }
  void end() { door_->open(); }

 private:
  std::shared_ptr<doorway> door_ = std::make_shared<doorway>();
};

struct system_config : caf::actor_system_config {
  system_config() { configure(*this); }
};

/// Grants nothing so many times, then what the real expert grants.
inline expert_actor::behavior_type flaky(expert_actor::pointer self, expert_actor real,
                                         std::shared_ptr<std::atomic<int>> failures) {
  return {[](atom::status) { return component_status{}; },
          [=](atom::acquire, uint32_t count) -> caf::result<lease> {
            if (failures->fetch_sub(1) > 0)
              return to_caf({ec::out_of_memory, "no room for this expert"});
            return self->delegate(real, atom::acquire::value, count);
          },
          [](atom::load) -> caf::result<uint64_t> { return uint64_t{0}; },
          [](atom::load, bool) -> caf::result<uint64_t> { return uint64_t{0}; },
          [](atom::evict) -> caf::result<uint64_t> { return uint64_t{0}; },
          [](atom::details) { return expert_status{}; }};
}

struct expert_world {
  system_config config;
  caf::actor_system system{config};
  compute::device_ptr device = *cpu::make_device({2, "", 0, false});
  std::shared_ptr<served_model> model = open();
  step_memory_ptr memory = make_memory();
  caf::scoped_actor self{system};
  std::vector<caf::strong_actor_ptr> actors;
  tier_actor ram = keep(system.spawn(tier, tier_config{}));

  ~expert_world() {
    for (const auto& a : actors)
      caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
    (void)compute::run(*device, {}); // behind what still runs
  }

  template <class Handle>
  Handle keep(Handle actor) {
    actors.push_back(caf::actor_cast<caf::strong_actor_ptr>(actor));
    return actor;
  }

  std::shared_ptr<served_model> open() const {
    auto m = *open_served_model(COEL_SOURCE_DIR "/models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf",
                                "tiny", device);
    m->hash.fill(std::byte{7});
    return m;
  }
  step_memory_ptr make_memory() const {
    const auto& c = model->config();
    return std::make_shared<const step_memory>(
        step_memory{model, *model::make_step_buffers(c, *device, 16, 4),
                    *device->make_kv_cache({c.layers, c.kv_heads, c.head_dim, 32, 8})});
  }
  const model::step_buffers& buffers() const { return memory->buffers; }
  uint32_t hidden() const { return model->config().hidden; }

  std::vector<expert_actor> spawn_experts(layer_id l) {
    std::vector<expert_actor> all;
    for (uint32_t e = 0; e < model->experts_per_layer; ++e)
      all.push_back(
          keep(system.spawn(expert, expert_config{model, {l, expert_id(e)}, dtype::q8_0, ram})));
    return all;
  }
  expert_actor make_flaky(const expert_actor& real, int failures) {
    return keep(system.spawn(flaky, real, std::make_shared<std::atomic<int>>(failures)));
  }

  void write(const compute::buffer_ptr& to, size_t count,
             const std::function<double(size_t)>& value) {
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i)
      values[i] = static_cast<float>(value(i));
    device->write(to->data(), values.data(), count * sizeof(float));
  }
  std::vector<float> read(const compute::buffer_ptr& from) const {
    std::vector<float> out(size_t{rows} * hidden());
    device->read(out.data(), from->data(), out.size() * sizeof(float));
    return out;
  }
  std::vector<float> residual() const { return read(buffers().residual); }

  /// Each row chose four of the experts; the residual is what attention left.
  void fill() {
    auto k = model->config().top_k;
    const auto& b = buffers();
    write(b.normed, rows * hidden(),
          [](size_t i) { return std::sin(0.37 * static_cast<double>(i)); });
    write(b.residual, rows * hidden(),
          [](size_t i) { return std::cos(0.11 * static_cast<double>(i)); });
    write(b.shared_weight, rows, [](size_t i) { return 0.2 + 0.1 * static_cast<double>(i); });
    write(b.weights, rows * k, [](size_t i) { return 0.1 + 0.01 * static_cast<double>(i); });
    for (uint32_t r = 0; r < rows; ++r)
      for (uint32_t i = 0; i < k; ++i)
        b.ids->i32()[r * k + i] = static_cast<int32_t>((r * 3 + i * 5) % model->config().experts);
  }

  /// What a node does with a dispatch: its experts over the rows that it was sent.
  partial_sum computed(const remote_dispatch& asked) const {
    size_t bytes = asked.activations.size() * sizeof(float);
    partial_sum sum{std::vector<float>(asked.activations.size(), 0.f), 0, 0, 0};
    auto in = *device->allocate(bytes), out = *device->allocate(bytes);
    device->write(in->data(), asked.activations.data(), bytes);
    device->write(out->data(), sum.values.data(), bytes);
    std::vector<compute::expert_task> tasks;
    for (const auto& e : asked.experts)
      tasks.push_back({*model::load_expert(*model->source, *device, {asked.layer, e.expert}),
                       e.rows, e.weights, nullptr});
    compute::command_list list;
    list.push_back(compute::run_experts{{in->f32(), asked.rows, asked.hidden},
                                        std::move(tasks),
                                        {out->f32(), asked.rows, asked.hidden}});
    (void)compute::run(*device, std::move(list)); // a failure leaves zeros, which no test expects
    device->read(sum.values.data(), out->data(), bytes);
    return sum;
  }

  /// A neighbour's question: these experts, over two rows of their own.
  remote_dispatch question(const std::vector<uint32_t>& experts) const {
    remote_dispatch ask;
    ask.model = model->hash;
    ask.layer = layer;
    ask.rows = 2;
    ask.hidden = hidden();
    ask.patience = generous;
    for (size_t i = 0; i < size_t{2} * ask.hidden; ++i)
      ask.activations.push_back(static_cast<float>(std::sin(0.21 * static_cast<double>(i))));
    for (auto e : experts)
      ask.experts.push_back({expert_id(e), {0, 1}, {0.5f, 0.25f}});
    return ask;
  }
};

inline void check_close(const std::vector<float>& got, const std::vector<float>& expected) {
  BOOST_REQUIRE_EQUAL(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    BOOST_REQUIRE_SMALL(got[i] - expected[i], 1e-4f * (1 + std::abs(expected[i])));
}

inline bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace coel::actors::test
