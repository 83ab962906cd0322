#include "actors/node_device.hpp"

#include "compute/tandem.hpp"
#include "policy/copy_over.hpp"

#include <algorithm>
#include <mutex>

namespace coel::actors {

namespace {

/// With fewer rows for each the copy never pays, and decoding should not even ask.
constexpr uint32_t least_rows = 4;

class copy_judge : public compute::tandem_observer {
 public:
  void ran_far(uint64_t bytes, uint64_t rows, uint32_t experts, uint64_t us) override {
    std::lock_guard hold(lock_);
    costs_.ran_slow(bytes, rows, experts, static_cast<double>(us));
  }
  void brought(uint64_t bytes, uint64_t us) override {
    std::lock_guard hold(lock_);
    costs_.copied(bytes, static_cast<double>(us));
  }

  std::vector<uint32_t> choose(std::span<const compute::far_use> uses) const {
    if (std::none_of(uses.begin(), uses.end(), [](const auto& u) { return u.rows >= least_rows; }))
      return {};
    std::vector<policy::copy_candidate> all;
    for (const auto& u : uses)
      all.push_back({u.bytes, u.rows, u.copyable && u.rows >= least_rows});
    std::lock_guard hold(lock_);
    return policy::plan_copies(all, costs_).copies;
  }

 private:
  mutable std::mutex lock_;
  policy::copy_costs costs_;
};

} // namespace

compute::device_ptr make_node_device(std::vector<compute::device_ptr> cards,
                                     compute::device_ptr beside) {
  auto near = std::move(cards.back());
  for (cards.pop_back(); !cards.empty(); cards.pop_back())
    near = compute::make_tandem({std::move(cards.back()), std::move(near), {}, {}, true});
  auto judge = std::make_shared<copy_judge>();
  return compute::make_tandem(
      {std::move(near), std::move(beside),
       [judge](std::span<const compute::far_use> uses) { return judge->choose(uses); }, judge});
}

} // namespace coel::actors
