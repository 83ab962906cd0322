#include "compute/quant.hpp"
#include "cpu/device.hpp"
#include "model/lower_experts.hpp"
#include "model/quantise_model.hpp"
#include "model/random_model.hpp"
#include "tests/model/disk_files.hpp"

#include <cmath>

using namespace coel;
using namespace coel::model;
using coel::model::test::disk_folder;

namespace {

struct fixture {
  disk_folder folder;

  source_ptr model_of(dtype type) const {
    auto path = folder.path / (std::string(to_string(type)) + ".gguf");
    random_model_spec spec{*shape_by_name("tiny-qwen2moe"), type, 0.8f, 1};
    auto made = write_random_model(path, spec, 1);
    BOOST_REQUIRE_MESSAGE(made.ok(), (made ? "" : made.err().message));
    return *open_model(path);
  }
};

/// y = x W^T by a device, for a row of ones and minus ones.
std::vector<float> projected(compute::device& on, const compute::weight_ptr& w, uint64_t rows,
                             uint64_t cols) {
  auto in = *on.allocate(cols * sizeof(float)), out = *on.allocate(rows * sizeof(float));
  auto* x = reinterpret_cast<float*>(in->data());
  for (uint64_t c = 0; c < cols; ++c)
    x[c] = c * 2654435761u >> 30 & 1 ? 1.f : -1.f;
  compute::project op;
  op.in = {x, 1, static_cast<uint32_t>(cols)};
  op.outputs.push_back(
      {w.get(), nullptr, {reinterpret_cast<float*>(out->data()), 1, static_cast<uint32_t>(rows)}});
  compute::command_list list{std::move(op)};
  BOOST_REQUIRE(compute::run(on, std::move(list)).ok());
  auto* y = reinterpret_cast<const float*>(out->data());
  return {y, y + rows};
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double wrong = 0, all = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    wrong += (a[i] - b[i]) * (a[i] - b[i]);
    all += b[i] * b[i];
  }
  return std::sqrt(wrong / all);
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(lower_experts_of_a_model, fixture)

BOOST_AUTO_TEST_CASE(the_next_type_of_fewer_bits_is_taken_where_it_saves_enough) {
  struct {
    dtype from;
    std::optional<dtype> asked, to;
  } cases[] = {{dtype::f32, {}, dtype::q8_0},  {dtype::f16, {}, dtype::q8_0},
               {dtype::bf16, {}, dtype::q8_0}, {dtype::f16, dtype::q4_0, dtype::q4_0},
               {dtype::q8_0, {}, dtype::q4_0}, {dtype::q6_k, {}, dtype::q4_0},
               {dtype::q8_0, dtype::q8_0, {}}, {dtype::q4_0, {}, {}},
               {dtype::q4_k, {}, {}},          {dtype::q4_0, dtype::q4_0, {}}};
  for (const auto& c : cases)
    BOOST_TEST_CONTEXT("of " << to_string(c.from)) {
      auto source = model_of(c.from);
      auto lower = lower_experts::of(source, c.asked);
      BOOST_REQUIRE_EQUAL(lower.has_value(), c.to.has_value());
      if (lower)
        BOOST_TEST(to_string(lower->type()) == to_string(*c.to));
    }
}

BOOST_AUTO_TEST_CASE(a_copy_is_as_near_as_its_type_allows_and_within_what_was_told) {
  auto panels = *cpu::make_device({1, "", 0, false});
  struct {
    dtype from, to;
    double most;
  } cases[] = {{dtype::f16, dtype::q8_0, 0.02}, {dtype::q8_0, dtype::q4_0, 0.25}};
  for (const auto& c : cases) {
    auto source = model_of(c.from);
    auto lower = *lower_experts::of(source, c.to);
    expert_key key{layer_id{1}, expert_id{5}};
    uint64_t resident = 0;
    role roles[] = {role::expert_gate, role::expert_up, role::expert_down};
    for (uint32_t piece = 0; piece < 3; ++piece) {
      auto view = *source->matrix({roles[piece], key.layer, key.expert});
      std::vector<std::byte> bytes;
      for (uint64_t r = 0; r < view.rows; ++r)
        bytes.insert(bytes.end(), view.row(r), view.row(r) + row_bytes(view.type, view.cols));
      auto copy = lower.make_piece(*panels, key, piece, bytes);
      BOOST_REQUIRE_MESSAGE(copy.ok(), (copy ? "" : copy.err().message));
      BOOST_TEST(to_string((*copy)->type()) == to_string(c.to));
      resident += (*copy)->resident_bytes();
      auto exact = *panels->load(view, compute::weight_use::project);
      auto off = distance(projected(*panels, *copy, view.rows, view.cols),
                          projected(*panels, exact, view.rows, view.cols));
      BOOST_TEST(off > 0);
      BOOST_TEST(off < c.most);
      bytes.pop_back();
      BOOST_TEST(!lower.make_piece(*panels, key, piece, bytes).ok());
    }
    BOOST_TEST(resident <= lower.resident_bytes()[16 + 5]);
  }
}

BOOST_AUTO_TEST_SUITE_END()
