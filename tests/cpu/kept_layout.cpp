// What a device keeps in files runs as what it loads, bit for bit.
#include "compute/kept_layout.hpp"
#include "cpu/packed.hpp"
#include "tests/cpu/support.hpp"

#include <cstring>

using namespace coel;
using namespace coel::test;

namespace {

std::vector<float> projected(compute::device& dev, const compute::weight_ptr& w, uint32_t rows) {
  auto x = random_values(size_t{rows} * w->cols(), 3);
  tensor in(dev, rows, w->cols(), x), out(dev, rows, w->rows());
  compute::command_list list;
  compute::project op;
  op.in = in.view;
  op.outputs.push_back({w.get(), nullptr, out.view});
  list.push_back(std::move(op));
  run_all(dev, std::move(list));
  return out.values();
}

/// Four consecutive bytes of a row are a word of a plane: where every one of them has to be.
void check_planes(dtype type, size_t first_byte, uint32_t planes, size_t unit_offset) {
  constexpr uint64_t rows = 21;
  uint64_t cols = cpu::unit_of(type).cols * 3;
  auto m = random_matrix(type, rows, cols, 5);
  std::vector<std::byte> got(cpu::packed_bytes(m), std::byte{0xee});
  cpu::pack(m, got.data());
  auto unit = cpu::unit_of(type);
  auto block = row_bytes(type, unit.cols);
  for (uint64_t r = 0; r < 32; ++r)
    for (uint64_t u = 0; u < 3; ++u)
      for (uint32_t j = 0; j < planes; ++j) {
        const auto* at = got.data() + (r / 16 * 3 + u) * unit.bytes + unit_offset + j * 64 + r % 16 * 4;
        std::byte want[4]{};
        if (r < rows)
          std::memcpy(want, m.row(r) + u * block + first_byte + 4 * j, 4);
        BOOST_REQUIRE_MESSAGE(std::memcmp(at, want, 4) == 0,
                              "row " << r << ", unit " << u << ", plane " << j);
      }
}

} // namespace

BOOST_AUTO_TEST_SUITE(cpu_kept_layout)

BOOST_AUTO_TEST_CASE(what_was_arranged_runs_as_what_was_loaded) {
  for (const auto& kernels : vector_sets())
    for (auto type : all_dtypes)
      for (uint64_t rows : {1u, 16u, 45u}) {
        BOOST_TEST_CONTEXT(kernels << ' ' << to_string(type) << ' ' << rows) {
          auto dev = make(kernels);
          const auto* layout = compute::layout_of(*dev);
          BOOST_REQUIRE(layout);
          auto m = random_matrix(type, rows, 512, 11);
          auto bytes = layout->bytes(m);
          std::vector<std::byte> kept(bytes + 64);
          void* aligned = kept.data();
          size_t space = kept.size();
          auto* at = static_cast<std::byte*>(std::align(64, bytes, aligned, space));
          layout->arrange(m, at);
          uint64_t offset = 128, size = (offset + bytes + 4095) / 4096 * 4096;
          auto memory = *dev->allocate(size);
          BOOST_TEST(reinterpret_cast<uintptr_t>(memory->data()) % 4096 == 0u);
          std::memcpy(memory->data() + offset, at, bytes);
          auto shape = m;
          shape.data = nullptr; // only its shape counts
          auto adopted = layout->adopt(shape, memory, offset);
          BOOST_REQUIRE_MESSAGE(adopted.ok(), (adopted ? "" : adopted.err().message));
          memory = nullptr; // the weight keeps it
          auto loaded = load(*dev, m);
          BOOST_TEST((*adopted)->resident_bytes() == loaded->resident_bytes());
          check_same(projected(*dev, *adopted, 3), projected(*dev, loaded, 3));
        }
      }
}

BOOST_AUTO_TEST_CASE(words_of_rows_become_planes) {
  check_planes(dtype::q4_0, 2, 4, 0);
  check_planes(dtype::q4_k, 16, 8, cpu::k_head + 4 * cpu::panel_rows);
}

BOOST_AUTO_TEST_CASE(what_does_not_lie_in_the_memory_is_not_adopted) {
  for (const auto& kernels : vector_sets()) {
    auto dev = make(kernels);
    const auto& layout = *compute::layout_of(*dev);
    auto m = random_matrix(dtype::q4_0, 16, 256, 2);
    auto memory = *dev->allocate(8192);
    BOOST_TEST(layout.bytes(m) < 8192u);
    BOOST_TEST(layout.adopt(m, memory, 0).ok());
    for (uint64_t offset : {uint64_t{32}, 8192 - layout.bytes(m) + 64, uint64_t{8192},
                            uint64_t{1} << 63, ~uint64_t{63}})
      BOOST_TEST((layout.adopt(m, memory, offset).err().code == ec::bad_argument));
    m.cols = 100;
    BOOST_TEST((layout.adopt(m, memory, 0).err().code == ec::unsupported));
  }
}

BOOST_AUTO_TEST_CASE(memory_comes_back_with_the_last_weight_of_it) {
  for (const auto& kernels : vector_sets()) {
    auto dev = make(kernels);
    auto m = random_matrix(dtype::q8_0, 32, 256, 2);
    auto memory = *dev->allocate(64 << 10);
    auto one = *compute::layout_of(*dev)->adopt(m, memory, 0), two = *compute::layout_of(*dev)->adopt(m, memory, 32 << 10);
    memory = nullptr;
    BOOST_TEST(dev->status().resident_bytes == uint64_t{64} << 10);
    one = nullptr;
    BOOST_TEST(dev->status().resident_bytes == uint64_t{64} << 10);
    two = nullptr;
    BOOST_TEST(dev->status().resident_bytes == 0u);
  }
}

BOOST_AUTO_TEST_SUITE_END()
