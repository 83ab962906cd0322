// A card and the CPU beside it as one device.
#include "compute/tandem.hpp"

#include "../cpu/expert_cases.hpp"
#include "devices.hpp"

#include <future>

using namespace coel;
using namespace coel::test;

namespace {

constexpr uint32_t hidden = 64, rows = 3;

std::shared_ptr<const compute::expert_weights> place(compute::device& dev, const expert_matrices& m,
                                                     compute::weight_use use) {
  auto e = std::make_shared<compute::expert_weights>();
  e->gate = load(dev, m.gate, use);
  e->up = load(dev, m.up, use);
  e->down = load(dev, m.down, use);
  return e;
}

struct pair_of {
  std::shared_ptr<gpu::emulated_control> control = std::make_shared<gpu::emulated_control>();
  compute::device_ptr dev;
  explicit pair_of(uint64_t budget = 0)
      : dev(compute::make_tandem(
            {gpu::make_device(gpu::make_emulated_card({1 << 30, 4, 1}, control), budget),
             reference(),
             {},
             nullptr})) {}
};

const std::vector<assignment> tasks{
    {{0, 1, 2}, {0.5f, -1.f, 0.25f}}, {{1}, {1.f}}, {{0, 2}, {2.f, 0.5f}}};

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_tandem)

BOOST_AUTO_TEST_CASE(experts_on_the_card_and_beside_it_add_up) {
  std::vector<compute::device_ptr> tested{pair_of().dev};
  if (auto card = card_or_skip())
    tested.push_back(compute::make_tandem({card, make(""), {}, nullptr}));
  for (auto& dev : tested)
    for (dtype type : {dtype::f16, dtype::q4_0}) {
      std::vector<expert_matrices> experts;
      for (uint32_t i = 0; i < tasks.size(); ++i)
        experts.push_back(random_expert(type, type, hidden, 32, 10 * i + 3));
      auto x = random_values(rows * hidden, 4, 0.3f);
      auto want = run_experts(*reference(), experts, tasks, x, rows);
      for (uint32_t far = 0; far < 8; ++far) {
        tensor in(*dev, rows, hidden, x),
            out(*dev, rows, hidden, std::vector<float>(x.size(), 1.f));
        compute::run_experts op{in.view, {}, out.view};
        for (uint32_t i = 0; i < tasks.size(); ++i)
          op.tasks.push_back(
              {place(*dev, experts[i],
                     far >> i & 1 ? compute::weight_use::far_expert : compute::weight_use::project),
               tasks[i].rows, tasks[i].weights, nullptr});
        run_all(*dev, {op});
        check_close(out.values(), want, tolerances(experts, tasks, x));
      }
      auto own = dev->status().own_memory;
      BOOST_REQUIRE(own.has_value());
      BOOST_TEST(own->split_lists > 0u);
      BOOST_TEST(own->loaded_bytes > 0u);
    }
}

BOOST_AUTO_TEST_CASE(only_what_is_near_takes_of_the_budget) {
  pair_of p(1 << 20);
  auto before = p.dev->status().own_memory->used_bytes;
  auto m = random_matrix(dtype::q4_0, 64, 2048, 1);
  auto far = load(*p.dev, m, compute::weight_use::far_expert);
  BOOST_TEST(p.dev->status().own_memory->used_bytes == before);
  auto near = load(*p.dev, m);
  BOOST_TEST(p.dev->status().own_memory->used_bytes == before + near->resident_bytes());
  BOOST_TEST(p.dev->status().own_memory->budget_bytes == 1u << 20);
}

BOOST_AUTO_TEST_CASE(what_is_set_aside_is_there_when_it_is_needed) {
  pair_of p(1 << 20);
  BOOST_REQUIRE(p.dev->reserve(256 << 10).ok());
  auto used = p.dev->status().own_memory->used_bytes;
  BOOST_TEST(used >= 256u << 10);
  auto weight = load(*p.dev, random_matrix(dtype::q4_0, 16, 256, 1));
  tensor x(*p.dev, 64, 256, random_values(64 * 256, 2)), y(*p.dev, 64, 16);
  auto rest = p.dev->allocate((1 << 20) - p.dev->status().own_memory->used_bytes - (128 << 10));
  BOOST_REQUIRE(rest.ok());
  run_all(*p.dev, {compute::project{x.view, {{weight.get(), nullptr, y.view}}}});
  auto refused = p.dev->reserve(2 << 20);
  BOOST_REQUIRE(!refused.ok());
  BOOST_TEST((refused.err().code == ec::out_of_memory));
}

BOOST_AUTO_TEST_CASE(a_card_lost_between_two_parts_fails_the_list_and_those_behind_it) {
  pair_of p;
  auto expert = random_expert(dtype::f32, dtype::f32, hidden, 32, 1);
  tensor in(*p.dev, rows, hidden, random_values(rows * hidden, 2));
  tensor out(*p.dev, rows, hidden, std::vector<float>(rows * hidden, 0.f));
  compute::run_experts op{in.view, {}, out.view};
  op.tasks.push_back({place(*p.dev, expert, compute::weight_use::far_expert), {0}, {1.f}, nullptr});
  p.control->held = true;
  std::vector<std::future<ec>> outcomes;
  for (int i = 0; i < 3; ++i) {
    auto told = std::make_shared<std::promise<ec>>();
    outcomes.push_back(told->get_future());
    p.dev->submit({op}, [told](const compute::completion_info& info) {
      told->set_value(info.outcome.ok() ? ec::none : info.outcome.err().code);
    });
  }
  p.control->lost = true;
  for (auto& o : outcomes)
    BOOST_TEST((o.get() == ec::device_lost));
  BOOST_TEST(p.dev->status().own_memory->lost);
  BOOST_TEST(p.dev->status().queue_depth == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
