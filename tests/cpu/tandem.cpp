// A device of two: parts of a list that run beside each other give what they give one after
// another, in order, whatever fails.
#include "compute/tandem.hpp"

#include "expert_cases.hpp"

#include <atomic>
#include <future>
#include <thread>

using namespace coel;
using namespace coel::test;

namespace {

constexpr uint32_t hidden = 64, rows = 5;

template <class T>
ec code_of(const result<T>& r) {
  return r.ok() ? ec::none : r.err().code;
}

enum class place : uint8_t { near, far };

compute::weight_ptr load_as(compute::device& dev, const matrix_view& m, place where) {
  auto w = dev.load(m, where == place::far ? compute::weight_use::far_expert
                                           : compute::weight_use::project);
  BOOST_REQUIRE_MESSAGE(w.ok(), (w.ok() ? std::string() : w.err().message));
  return *w;
}

std::shared_ptr<const compute::expert_weights> place_expert(compute::device& dev,
                                                            const expert_matrices& m, place where) {
  auto e = std::make_shared<compute::expert_weights>();
  e->gate = load_as(dev, m.gate, where);
  e->up = load_as(dev, m.up, where);
  e->down = load_as(dev, m.down, where);
  e->bytes = e->gate->resident_bytes() + e->up->resident_bytes() + e->down->resident_bytes();
  return e;
}

std::vector<expert_matrices> experts_of(dtype type) {
  std::vector<expert_matrices> all;
  for (uint32_t i = 0; i < 4; ++i)
    all.push_back(random_expert(type, type, hidden, 96, 50 * i + 7));
  return all;
}

const std::vector<assignment>& usual_tasks() {
  static const std::vector<assignment> tasks{{{0, 1, 3}, {0.5f, -1.f, 0.25f}},
                                             {{1, 4}, {1.f, 0.125f}},
                                             {{0, 2, 3, 4}, {2.f, 0.5f, 1.f, -0.75f}},
                                             {{3}, {1.5f}}};
  return tasks;
}

/// A mixed list over a device: norm, experts, norm again.
struct work {
  tensor in, out, gain, factors;
  work(compute::device& dev, const std::vector<float>& x)
      : in(dev, rows, hidden, x), out(dev, rows, hidden, std::vector<float>(x.size(), 1.f)),
        gain(dev, 1, hidden, random_values(hidden, 5)),
        factors(dev, rows, 1, random_values(rows, 6)) {}
  compute::operation before() { return compute::rms_norm{in.view, gain.view.data, 1e-6f, in.view}; }
  compute::operation after() { return compute::add{in.view, out.view}; }
};

struct counting : compute::tandem_observer {
  std::atomic<uint32_t> far_experts{0}, copies{0};
  void ran_far(uint64_t bytes, uint64_t n, uint32_t experts, uint64_t) override {
    BOOST_TEST(bytes > 0u);
    BOOST_TEST(n >= experts);
    far_experts += experts;
  }
  void brought(uint64_t bytes, uint64_t) override {
    if (bytes > 3 * 4 * hidden * 90) // a whole expert: no single matrix of the near ones
      ++copies;
  }
};

/// A device with room for so many matrices.
class tight : public compute::device {
 public:
  explicit tight(int room) : room_(room) {}
  result<compute::weight_ptr> load(const matrix_view& m, compute::weight_use use) override {
    if (room_-- <= 0)
      return {ec::out_of_memory, "full"};
    return inner_->load(m, use);
  }
  result<compute::buffer_ptr> allocate(size_t bytes, compute::memory where) override {
    return inner_->allocate(bytes, where);
  }
  result<compute::kv_cache_ptr> make_kv_cache(const compute::kv_shape& shape) override {
    return inner_->make_kv_cache(shape);
  }
  void write(void* to, const void* from, size_t bytes) override { inner_->write(to, from, bytes); }
  void read(void* to, const void* from, size_t bytes) override { inner_->read(to, from, bytes); }
  void submit(compute::command_list list, compute::completion done) override {
    inner_->submit(std::move(list), std::move(done));
  }
  compute::device_status status() const override { return inner_->status(); }

 private:
  compute::device_ptr inner_ = make("reference");
  std::atomic<int> room_;
};

struct setting {
  std::shared_ptr<counting> seen = std::make_shared<counting>();
  compute::device_ptr dev;
  explicit setting(compute::copy_choice choose = {}, int room = 1000)
      : dev(compute::make_tandem(
            {std::make_shared<tight>(room), make("reference"), std::move(choose), seen})) {}
};

compute::copy_choice all_of_them() {
  return [](std::span<const compute::far_use> uses) {
    std::vector<uint32_t> chosen;
    for (uint32_t i = 0; i < uses.size(); ++i)
      chosen.push_back(i);
    return chosen;
  };
}

std::vector<compute::expert_task> tasks_on(compute::device& dev,
                                           const std::vector<expert_matrices>& experts,
                                           const std::vector<place>& where) {
  std::vector<compute::expert_task> tasks;
  for (size_t i = 0; i < experts.size(); ++i)
    tasks.push_back({place_expert(dev, experts[i], where[i]), usual_tasks()[i].rows,
                     usual_tasks()[i].weights, nullptr});
  return tasks;
}

std::vector<float> run_on(const setting& s, const std::vector<place>& where, dtype type,
                          const std::vector<float>& x) {
  work w(*s.dev, x);
  run_all(*s.dev,
          {w.before(),
           compute::run_experts{w.in.view, tasks_on(*s.dev, experts_of(type), where), w.out.view},
           w.after()});
  return w.out.values();
}

/// What the header promises: near ones in their order, then the sum of the far ones.
std::vector<float> by_hand(const std::vector<place>& where, dtype type,
                           const std::vector<float>& x) {
  auto dev = make("reference");
  work w(*dev, x);
  tensor sum(*dev, rows, hidden, std::vector<float>(x.size(), 0.f));
  auto all = tasks_on(*dev, experts_of(type), std::vector<place>(4, place::near));
  compute::run_experts near{w.in.view, {}, w.out.view}, far{w.in.view, {}, sum.view};
  for (size_t i = 0; i < all.size(); ++i)
    (where[i] == place::near ? near : far).tasks.push_back(all[i]);
  compute::command_list list{w.before(), near, far};
  if (!far.tasks.empty())
    list.push_back(compute::add{sum.view, w.out.view});
  list.push_back(w.after());
  run_all(*dev, list);
  return w.out.values();
}

const std::vector<std::vector<place>>& placements() {
  using enum place;
  static const std::vector<std::vector<place>> all{{near, near, near, near},
                                                   {far, far, far, far},
                                                   {near, far, near, far},
                                                   {far, near, near, near}};
  return all;
}

} // namespace

BOOST_AUTO_TEST_SUITE(tandem)

BOOST_AUTO_TEST_CASE(parts_run_beside_each_other_give_the_bits_of_parts_run_in_turn) {
  for (dtype type : {dtype::f32, dtype::q8_0})
    for (size_t i = 0; i < placements().size(); ++i)
      BOOST_TEST_CONTEXT("placement " << i << ' ' << to_string(type)) {
        setting s;
        auto x = random_values(rows * hidden, 11);
        check_same(run_on(s, placements()[i], type, x), by_hand(placements()[i], type, x));
        auto far = std::count(placements()[i].begin(), placements()[i].end(), place::far);
        BOOST_TEST(s.seen->far_experts == static_cast<uint32_t>(far));
      }
}

BOOST_AUTO_TEST_CASE(experts_copied_over_give_the_bits_of_experts_that_are_there) {
  for (size_t i = 0; i < placements().size(); ++i)
    BOOST_TEST_CONTEXT("placement " << i) {
      setting s(all_of_them());
      auto x = random_values(rows * hidden, 12);
      // near tasks in order, then the copied ones in order
      auto got = run_on(s, placements()[i], dtype::f32, x);
      auto far = static_cast<uint32_t>(
          std::count(placements()[i].begin(), placements()[i].end(), place::far));
      BOOST_TEST(s.seen->copies == far);
      BOOST_TEST(s.seen->far_experts == 0u);
      if (far == 4)
        check_same(got, by_hand(placements()[0], dtype::f32, x));
      check_close(got, by_hand(placements()[0], dtype::f32, x),
                  std::vector<double>(got.size(), 1e-4));
    }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_copied_runs_where_it_is) {
  auto x = random_values(rows * hidden, 13);
  auto far = placements()[1];
  setting full(all_of_them(), 2);
  check_same(run_on(full, far, dtype::f32, x), by_hand(far, dtype::f32, x));
  BOOST_TEST(full.seen->copies == 0u);
  BOOST_TEST(full.seen->far_experts == 4u);
  setting nearly(all_of_them(), 7);
  auto sum = run_on(nearly, far, dtype::f32, x);
  check_same(sum, by_hand({place::near, place::near, place::far, place::far}, dtype::f32, x));
  BOOST_TEST(nearly.seen->copies == 2u);
  BOOST_TEST(nearly.seen->far_experts == 2u);
  // Bytes that are gone after loading.
  setting s(all_of_them());
  auto experts = experts_of(dtype::f32);
  for (auto& e : experts)
    for (auto* m : {&e.gate, &e.up, &e.down}) {
      static std::vector<std::shared_ptr<const void>> kept; // for this test's own use
      kept.push_back(m->owner);
      m->owner = nullptr;
    }
  work w(*s.dev, x);
  run_all(*s.dev,
          {w.before(), compute::run_experts{w.in.view, tasks_on(*s.dev, experts, far), w.out.view},
           w.after()});
  check_same(w.out.values(), by_hand(far, dtype::f32, x));
  BOOST_TEST(s.seen->copies == 0u);
}

BOOST_AUTO_TEST_CASE(weights_that_are_on_the_device_go_along) {
  setting s;
  auto x = random_values(rows * hidden, 14);
  auto expert = experts_of(dtype::f32)[0];
  std::vector<std::vector<float>> got;
  for (auto where : {place::near, place::far}) {
    work w(*s.dev, x);
    compute::expert_task t{place_expert(*s.dev, expert, where), {1, 4}, {}, w.factors.view.data};
    run_all(*s.dev, {compute::run_experts{w.in.view, {t}, w.out.view}});
    got.push_back(w.out.values());
  }
  check_close(got[1], got[0], std::vector<double>(got[0].size(), 1e-5));
  BOOST_TEST(s.seen->far_experts == 1u);
}

BOOST_AUTO_TEST_CASE(a_list_may_be_cut_more_than_once) {
  setting s;
  auto x = random_values(rows * hidden, 15);
  auto experts = experts_of(dtype::f32);
  auto twice = [&](compute::device& dev, place first, place second) {
    work w(dev, x);
    auto a = tasks_on(dev, experts, std::vector<place>(4, first));
    auto b = tasks_on(dev, experts, std::vector<place>(4, second));
    run_all(dev, {w.before(), compute::run_experts{w.in.view, a, w.out.view}, w.after(),
                  compute::run_experts{w.out.view, b, w.in.view}, w.after()});
    return w.out.values();
  };
  auto want = twice(*make("reference"), place::near, place::near);
  auto size = std::vector<double>(want.size());
  for (size_t i = 0; i < size.size(); ++i)
    size[i] = 1e-4 + 1e-4 * std::abs(want[i]);
  check_close(twice(*s.dev, place::far, place::far), want, size);
  check_close(twice(*s.dev, place::near, place::far), want, size);
}

BOOST_AUTO_TEST_CASE(lists_of_many_threads_complete_in_their_order) {
  setting s;
  auto experts = experts_of(dtype::f32);
  auto far = tasks_on(*s.dev, experts, placements()[2]);
  auto near = tasks_on(*s.dev, experts, placements()[0]);
  constexpr int threads = 3, each = 40;
  std::vector<std::vector<int>> order(threads);
  std::atomic<int> left{threads * each};
  std::promise<void> all;
  std::vector<std::unique_ptr<work>> works;
  for (int t = 0; t < threads; ++t)
    works.push_back(std::make_unique<work>(*s.dev, random_values(rows * hidden, 16)));
  std::vector<std::thread> submitters;
  for (int t = 0; t < threads; ++t)
    submitters.emplace_back([&, t] {
      auto& w = *works[static_cast<size_t>(t)];
      for (int i = 0; i < each; ++i) {
        compute::command_list list{w.before()};
        if (i % 4 != 3)
          list.push_back(compute::run_experts{w.in.view, i % 2 ? far : near, w.out.view});
        if (i % 5 == 4)
          list.push_back(compute::gather{w.in.view, {rows}, w.in.view}); // refused
        s.dev->submit(std::move(list), [&, t, i](const compute::completion_info& info) {
          order[static_cast<size_t>(t)].push_back(info.outcome.ok() ? i : -i);
          if (--left == 0)
            all.set_value();
        });
      }
    });
  for (auto& t : submitters)
    t.join();
  all.get_future().wait();
  for (const auto& o : order) {
    BOOST_REQUIRE(o.size() == each);
    for (int i = 0; i < each; ++i)
      BOOST_TEST(o[static_cast<size_t>(i)] == (i % 5 == 4 ? -i : i));
  }
  BOOST_TEST(s.dev->status().queue_depth == 0u);
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_refused_and_the_next_list_runs) {
  setting s;
  auto m = random_matrix(dtype::f32, hidden, hidden, 1);
  auto far = load_as(*s.dev, m, place::far);
  auto x = random_values(rows * hidden, 17);
  work w(*s.dev, x);
  auto refused = [&](compute::operation op) {
    return code_of(compute::run(*s.dev, {w.before(), std::move(op), w.after()})) ==
           ec::bad_argument;
  };
  BOOST_TEST(refused(compute::project{w.in.view, {{far.get(), nullptr, w.out.view}}}));
  auto experts = experts_of(dtype::f32);
  auto tasks = tasks_on(*s.dev, experts, placements()[1]);
  auto outside = tasks;
  outside[2].rows = {0, 1, 2, rows};
  BOOST_TEST(refused(compute::run_experts{w.in.view, outside, w.out.view}));
  auto halved = std::make_shared<compute::expert_weights>(*tasks[0].expert);
  halved->up = load_as(*s.dev, experts[0].up, place::near);
  tasks[0].expert = halved;
  BOOST_TEST(refused(compute::run_experts{w.in.view, tasks, w.out.view}));
  auto stranger = tasks_on(*setting().dev, experts, placements()[1]);
  BOOST_TEST(refused(compute::run_experts{w.in.view, stranger, w.out.view}));
  check_same(run_on(s, placements()[2], dtype::f32, x), by_hand(placements()[2], dtype::f32, x));
}

BOOST_AUTO_TEST_CASE(a_completion_may_hold_the_last_reference) {
  auto made = std::make_unique<setting>(all_of_them());
  auto w = std::make_shared<work>(*made->dev, random_values(rows * hidden, 18));
  auto tasks = tasks_on(*made->dev, experts_of(dtype::f32), placements()[2]);
  std::promise<bool> done;
  std::promise<void> released;
  auto future = released.get_future().share();
  auto dev = made->dev;
  auto* raw = dev.get();
  compute::command_list list{compute::run_experts{w->in.view, tasks, w->out.view}};
  tasks.clear();
  raw->submit(std::move(list),
              [d = std::move(dev), w, future, &done](const compute::completion_info& info) mutable {
                future.wait();
                d = nullptr;
                done.set_value(info.outcome.ok());
              });
  w = nullptr;
  made = nullptr;
  released.set_value();
  BOOST_TEST(done.get_future().get());
}

BOOST_AUTO_TEST_CASE(what_two_share_lies_whole_on_one_of_them) {
  auto x = random_values(rows * hidden, 1);
  for (int room : {0, 2, 3, 4, 7, 12}) // matrices; three make an expert
    BOOST_TEST_CONTEXT("room " << room) {
      auto dev =
          compute::make_tandem({std::make_shared<tight>(room), make("reference"), {}, {}, true});
      auto three = compute::make_tandem({dev, make("reference"), {}, {}, false});
      work w(*three, x);
      std::vector<compute::expert_task> tasks;
      std::vector<place> where;
      auto experts = experts_of(dtype::q8_0);
      for (size_t i = 0; i < experts.size(); ++i) {
        const auto& m = experts[i];
        auto e = three->load_expert({m.gate, m.up, m.down}, compute::weight_use::project);
        BOOST_REQUIRE(e.ok());
        where.push_back(3 * static_cast<int>(i + 1) <= room ? place::near : place::far);
        tasks.push_back({*e, usual_tasks()[i].rows, usual_tasks()[i].weights, nullptr});
      }
      auto all_near = std::count(where.begin(), where.end(), place::far) == 0;
      run_all(*three, {w.before(), compute::run_experts{w.in.view, tasks, w.out.view}, w.after()});
      check_same(w.out.values(), by_hand(where, dtype::q8_0, x));
      auto own = dev->status();
      BOOST_TEST(own.lists_run > (all_near ? 0u : 1u));
    }
}

BOOST_AUTO_TEST_CASE(three_places_add_up_in_their_order) {
  auto x = random_values(rows * hidden, 2);
  auto inner = compute::make_tandem({std::make_shared<tight>(3), make("reference"), {}, {}, true});
  auto dev = compute::make_tandem({inner, make("reference"), {}, {}, false});
  auto experts = experts_of(dtype::f32);
  std::vector<compute::expert_task> tasks;
  for (size_t i = 0; i < experts.size(); ++i) {
    const auto& m = experts[i];
    auto e = dev->load_expert({m.gate, m.up, m.down}, i == 2 ? compute::weight_use::far_expert
                                                             : compute::weight_use::project);
    BOOST_REQUIRE(e.ok());
    tasks.push_back({*e, usual_tasks()[i].rows, usual_tasks()[i].weights, nullptr});
  }
  work w(*dev, x);
  run_all(*dev, {w.before(), compute::run_experts{w.in.view, tasks, w.out.view}, w.after()});
  // the first on the near one, 1 and 3 on the one beside, 2 on the far one
  auto one = make("reference");
  work by(*one, x);
  tensor beside(*one, rows, hidden, std::vector<float>(x.size(), 0.f)),
      far(*one, rows, hidden, std::vector<float>(x.size(), 0.f));
  auto part = [&](std::vector<size_t> which, const compute::rows_f32& to) {
    compute::run_experts op{by.in.view, {}, to};
    for (auto i : which)
      op.tasks.push_back({load_expert(*one, experts[i]), usual_tasks()[i].rows,
                          usual_tasks()[i].weights, nullptr});
    return op;
  };
  run_all(*one, {by.before(), part({0}, by.out.view), part({1, 3}, beside.view),
                 compute::add{beside.view, by.out.view}, part({2}, far.view),
                 compute::add{far.view, by.out.view}, by.after()});
  check_same(w.out.values(), by.out.values());
}

BOOST_AUTO_TEST_SUITE_END()
