#include "devices.hpp"

#include <cstdlib>
#include <string_view>

namespace coel::test {

compute::device_ptr emulated(uint64_t budget_bytes, uint32_t seed, uint32_t multiprocessors) {
  return gpu::make_device(gpu::make_emulated_card({uint64_t{1} << 30, multiprocessors, seed}),
                          budget_bytes);
}

compute::device_ptr card_or_skip() {
  static const auto card = gpu::make_device();
  static bool told = false;
  if (!card && !std::exchange(told, true))
    BOOST_TEST_MESSAGE("skipped on a card: " << card.err().message);
  return card ? *card : nullptr;
}

namespace {
bool wants(std::string_view what) {
  const char* wanted = std::getenv("COEL_GPU_TESTS");
  return wanted && wanted == what;
}
} // namespace

std::vector<tested_device> devices() {
  std::vector<tested_device> all;
  auto card = card_or_skip();
  if (!card || !wants("card"))
    all.push_back({"emulated", emulated(), true});
  if (card)
    all.push_back({card->status().name, card, false});
  return all;
}

bool takes_all(const tested_device& d) {
  return !d.emulated || wants("all");
}

compute::device_ptr reference() {
  return make("reference");
}

} // namespace coel::test
