// Experts by ids that are on the card only: the bits of run_experts with the same choice.
#include "../cpu/expert_cases.hpp"
#include "devices.hpp"
#include "policy/routing_table.hpp"

#include <random>

using namespace coel;
using namespace coel::test;

namespace {

struct kinds {
  dtype gate, up, down;
};

struct chosen_case {
  kinds types;
  uint32_t experts, top_k, rows, hidden, width;
};

/// A layer of experts as the device has them.
compute::expert_table_ptr load_table(compute::device& dev, const chosen_case& c) {
  auto table = std::make_shared<compute::expert_table>();
  for (uint32_t e = 0; e < c.experts; ++e) {
    auto m = random_expert(c.types.gate, c.types.down, c.hidden, c.width, 10 * e);
    m.up = random_matrix(c.types.up, c.width, c.hidden, 10 * e + 5);
    table->push_back(load_expert(dev, m));
  }
  return table;
}

/// Distinct ids in each row; few experts are liked by all, as of a trained model.
std::vector<int32_t> random_ids(const chosen_case& c, std::mt19937& random) {
  std::vector<int32_t> out, all(c.experts);
  for (uint32_t e = 0; e < c.experts; ++e)
    all[e] = static_cast<int32_t>(e);
  for (uint32_t r = 0; r < c.rows; ++r) {
    std::shuffle(all.begin(), all.end(), random);
    if (random() % 2)
      std::iter_swap(all.begin(), std::find(all.begin(), all.end(), 0));
    out.insert(out.end(), all.begin(), all.begin() + c.top_k);
  }
  return out;
}

std::vector<float> by_tasks(compute::device& dev, const compute::expert_table& table,
                            const chosen_case& c, const std::vector<int32_t>& ids,
                            const std::vector<float>& weights, const std::vector<float>& x) {
  tensor in(dev, c.rows, c.hidden, x), out(dev, c.rows, c.hidden, std::vector<float>(x.size(), 1));
  compute::run_experts op{in.view, {}, out.view};
  for (auto& g : policy::group_by_expert(ids, weights, c.rows, c.experts))
    op.tasks.push_back({table[index(g.expert)], g.rows, g.weights, nullptr});
  run_all(dev, {op});
  return out.values();
}

struct id_memory {
  compute::buffer_ptr ids, weights;
  id_memory(compute::device& dev, const std::vector<int32_t>& i, const std::vector<float>& w)
      : ids(*dev.allocate(i.size() * sizeof(int32_t))),
        weights(*dev.allocate(w.size() * sizeof(float))) {
    dev.write(ids->data(), i.data(), i.size() * sizeof(int32_t));
    dev.write(weights->data(), w.data(), w.size() * sizeof(float));
  }
};

std::vector<float> by_ids(compute::device& dev, const compute::expert_table_ptr& table,
                          const chosen_case& c, const std::vector<int32_t>& ids,
                          const std::vector<float>& weights, const std::vector<float>& x) {
  tensor in(dev, c.rows, c.hidden, x), out(dev, c.rows, c.hidden, std::vector<float>(x.size(), 1));
  id_memory there(dev, ids, weights);
  run_all(dev, {compute::run_chosen{in.view, there.ids->i32(), there.weights->f32(), c.top_k, table,
                                    out.view}});
  return out.values();
}

void compare(compute::device& dev, const chosen_case& c, uint32_t seed) {
  BOOST_TEST_CONTEXT(dev.status().name << ' ' << to_string(c.types.gate) << ", " << c.experts
                                       << " experts, " << c.top_k << " of them, " << c.rows
                                       << " rows, seed " << seed) {
    std::mt19937 random(seed);
    auto table = load_table(dev, c);
    BOOST_REQUIRE(dev.most_chosen_rows(*table) >= c.rows);
    auto ids = random_ids(c, random);
    auto weights = random_values(ids.size(), seed + 1);
    auto x = random_values(size_t{c.rows} * c.hidden, seed + 2, 0.3f);
    check_same(by_ids(dev, table, c, ids, weights, x), by_tasks(dev, *table, c, ids, weights, x));
  }
}

kinds all_of(dtype type) {
  return {type, type, type};
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_chosen)

BOOST_AUTO_TEST_CASE(every_type_gives_the_bits_of_tasks) {
  for (auto& d : devices())
    for (dtype type : all_dtypes) {
      uint32_t step = std::max(32u, info(type).block_elements);
      for (uint32_t rows : {1u, 5u})
        compare(*d.device, {all_of(type), 6, 2, rows, 2 * step, step}, rows);
    }
}

BOOST_AUTO_TEST_CASE(any_number_of_rows_and_experts) {
  std::mt19937 random(7);
  for (auto& d : devices())
    for (uint32_t seed = 0; seed < (takes_all(d) ? 40u : 10u); ++seed) {
      bool floats = seed % 3 == 2;
      auto experts = 1 + random() % 40;
      auto k = 1 + random() % std::min(8u, static_cast<uint32_t>(experts));
      compare(*d.device,
              {all_of(floats ? dtype::f16 : dtype::q4_0), static_cast<uint32_t>(experts),
               static_cast<uint32_t>(k), static_cast<uint32_t>(1 + random() % (floats ? 8 : 16)),
               64, 96},
              seed);
    }
}

BOOST_AUTO_TEST_CASE(matrices_of_an_expert_may_be_of_different_types) {
  for (auto& d : devices()) {
    compare(*d.device, {{dtype::q4_k, dtype::q4_k, dtype::q6_k}, 8, 3, 4, 256, 256}, 1);
    compare(*d.device, {{dtype::q4_0, dtype::q8_0, dtype::f16}, 8, 3, 4, 64, 64}, 2);
    compare(*d.device, {{dtype::f32, dtype::q8_0, dtype::q4_0}, 8, 3, 4, 64, 64}, 3);
  }
}

BOOST_AUTO_TEST_CASE(what_chooses_may_be_in_the_same_list) {
  for (auto& d : devices()) {
    auto& dev = *d.device;
    chosen_case c{all_of(dtype::q8_0), 12, 4, 3, 64, 32};
    auto table = load_table(dev, c);
    auto x = random_values(size_t{c.rows} * c.hidden, 5, 0.3f);
    tensor logits(dev, c.rows, c.experts, random_values(size_t{c.rows} * c.experts, 6));
    tensor in(dev, c.rows, c.hidden, x),
        out(dev, c.rows, c.hidden, std::vector<float>(x.size(), 1.f));
    std::vector<int32_t> ids(size_t{c.rows} * c.top_k, -1);
    std::vector<float> weights(ids.size());
    id_memory there(dev, ids, weights);
    for (int again = 0; again < 3; ++again) { // the last two as a graph, where there are graphs
      dev.write(out.view.data, std::vector<float>(x.size(), 1.f).data(), x.size() * sizeof(float));
      run_all(dev,
              {compute::route{logits.view, c.top_k, true, there.ids->i32(), there.weights->f32()},
               compute::run_chosen{in.view, there.ids->i32(), there.weights->f32(), c.top_k, table,
                                   out.view}});
      dev.read(ids.data(), there.ids->data(), ids.size() * sizeof(int32_t));
      dev.read(weights.data(), there.weights->data(), weights.size() * sizeof(float));
      check_same(out.values(), by_tasks(dev, *table, c, ids, weights, x));
    }
  }
}

BOOST_AUTO_TEST_CASE(ids_beyond_the_table_read_nothing_beyond_it) {
  for (auto& d : devices()) {
    chosen_case c{all_of(dtype::q4_0), 4, 2, 2, 32, 32};
    auto table = load_table(*d.device, c);
    auto x = random_values(size_t{c.rows} * c.hidden, 3);
    auto got = by_ids(*d.device, table, c, {7, -1, 2, 2}, {1, 1, 1, 1}, x);
    auto want = by_ids(*d.device, table, c, {3, 3, 2, 2}, {1, 1, 1, 1}, x);
    check_same(got, want);
  }
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_one_launch_is_refused) {
  for (auto& d : devices()) {
    auto& dev = *d.device;
    auto table = *load_table(dev, {all_of(dtype::q4_0), 4, 2, 1, 32, 32});
    auto most = dev.most_chosen_rows(table);
    BOOST_TEST(most >= 8u);
    chosen_case many{all_of(dtype::q4_0), 4, 1, most + 1, 32, 32};
    tensor in(dev, many.rows, 32, std::vector<float>(many.rows * 32)),
        out(dev, many.rows, 32, std::vector<float>(many.rows * 32));
    id_memory there(dev, std::vector<int32_t>(many.rows), std::vector<float>(many.rows));
    auto outcome = compute::run(
        dev, {compute::run_chosen{in.view, there.ids->i32(), there.weights->f32(), 1,
                                  std::make_shared<compute::expert_table>(table), out.view}});
    BOOST_REQUIRE(!outcome.ok());
    BOOST_TEST((outcome.err().code == ec::unsupported));
    table.push_back(load_table(dev, {all_of(dtype::q8_0), 1, 1, 1, 32, 32})->front());
    BOOST_TEST(dev.most_chosen_rows(table) == 0u);
  }
}

BOOST_AUTO_TEST_CASE(a_processor_wants_to_be_told) {
  auto processor = reference();
  auto& dev = *processor;
  chosen_case c{all_of(dtype::f32), 4, 2, 1, 32, 32};
  auto table = load_table(dev, c);
  BOOST_TEST(dev.most_chosen_rows(*table) == 0u);
  int32_t ids[2]{0, 1};
  float weights[2]{1, 1}, rows[32]{};
  auto outcome = compute::run(
      dev, {compute::run_chosen{{rows, 1, 32}, ids, weights, 2, table, {rows, 1, 32}}});
  BOOST_REQUIRE(!outcome.ok());
  BOOST_TEST(outcome.err().message.find("by their ids") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
