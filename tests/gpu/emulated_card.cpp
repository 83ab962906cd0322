#include "emulated_card.hpp"

#include "emulator.hpp"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

namespace coel::gpu {

namespace {

struct emulated_mark : mark {};
struct emulated_graph : graph {
  explicit emulated_graph(std::span<const step> from) : steps(from.begin(), from.end()) {}
  std::vector<step> steps;
};

class emulated_card : public card {
 public:
  emulated_card(const emulated_options& options, std::shared_ptr<emulated_control> control)
      : options_(options), control_(std::move(control)) {
    info_ = {"emulated", 90, options.multiprocessors, options.memory_bytes};
  }
  ~emulated_card() override {
    for (auto& [memory, size] : blocks_)
      std::free(memory);
  }

  const card_info& info() const override { return info_; }

  result<std::byte*> allocate(uint64_t bytes) override {
    if (auto fine = alive(); !fine)
      return fine.err();
    if (control_->allocated + bytes > options_.memory_bytes)
      return {ec::out_of_memory, "the card has no memory left"};
    control_->allocated += bytes;
    return keep(bytes);
  }
  void release(std::byte* memory) override {
    std::lock_guard lock(mutex_);
    auto at = blocks_.find(memory);
    control_->allocated -= at->second;
    std::free(memory);
    blocks_.erase(at);
  }
  result<std::byte*> allocate_host(uint64_t bytes) override {
    if (auto fine = alive(); !fine)
      return fine.err();
    return keep(bytes);
  }
  void release_host(std::byte* memory) override {
    std::lock_guard lock(mutex_);
    blocks_.erase(memory);
    std::free(memory);
  }

  result<void> copy(lane, void* to, const void* from, uint64_t bytes) override {
    if (auto fine = alive(); !fine)
      return fine;
    std::memcpy(to, from, bytes);
    return {};
  }
  result<void> launch(lane, kernel k, grid blocks, const void* args) override {
    if (auto fine = alive(); !fine)
      return fine;
    ++control_->launches;
    emulate(k, {blocks.x, blocks.y, blocks.z}, args, options_.seed);
    return {};
  }

  result<graph_ptr> make_graph(std::span<const step> steps) override {
    if (auto fine = alive(); !fine)
      return fine.err();
    ++control_->graphs;
    return graph_ptr(std::make_shared<emulated_graph>(steps));
  }
  result<void> start(lane on, const graph& g) override {
    ++control_->replays;
    for (const auto& s : static_cast<const emulated_graph&>(g).steps)
      if (auto ok = s.bytes ? copy(on, s.to, s.from, s.bytes)
                            : launch(on, s.what, s.blocks, s.args.data());
          !ok)
        return ok;
    return {};
  }

  result<mark_ptr> make_mark() override { return mark_ptr(std::make_unique<emulated_mark>()); }
  result<void> set(mark&, lane) override { return alive(); }
  result<bool> reached(const mark&) override {
    if (auto fine = alive(); !fine)
      return fine.err();
    return !control_->held;
  }
  result<void> wait(const mark&) override { return alive(); }
  result<double> elapsed_us(const mark&, const mark&) override { return 1.0; }

 private:
  result<void> alive() const {
    if (control_->lost)
      return {ec::device_lost, "the card is gone"};
    return {};
  }
  std::byte* keep(uint64_t bytes) {
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
    std::memset(memory, 0xff, bytes); // NaNs
    std::lock_guard lock(mutex_);
    blocks_.emplace(memory, bytes);
    return memory;
  }

  emulated_options options_;
  std::shared_ptr<emulated_control> control_;
  card_info info_;
  std::mutex mutex_;
  std::map<std::byte*, uint64_t> blocks_;
};

} // namespace

card_ptr make_emulated_card(const emulated_options& options,
                            std::shared_ptr<emulated_control> control) {
  if (!control)
    control = std::make_shared<emulated_control>();
  return std::make_shared<emulated_card>(options, std::move(control));
}

} // namespace coel::gpu
