#include "model/byte_presence.hpp"

#include <algorithm>

namespace coel::model {

namespace {

class everything : public byte_presence {
 public:
  bool present(const tensor_key&) const override { return true; }
  bool present(expert_key) const override { return true; }
  std::vector<chunk_id> missing(expert_key) const override { return {}; }
};

class mirrored : public byte_presence {
 public:
  mirrored(std::shared_ptr<const mirror> from, tensor_places places)
      : from_(std::move(from)), places_(std::move(places)) {}

  bool present(const tensor_key& key) const override {
    auto range = places_.of(key);
    return range && from_->has(*range);
  }

  bool present(expert_key key) const override {
    auto ranges = places_.of_expert(key);
    return ranges && std::all_of(ranges->begin(), ranges->end(),
                                 [&](const auto& range) { return from_->has(range); });
  }

  std::vector<chunk_id> missing(expert_key key) const override {
    std::vector<chunk_id> chunks;
    auto ranges = places_.of_expert(key);
    if (!ranges)
      return chunks;
    for (const auto& range : *ranges) {
      auto more = from_->missing(range);
      chunks.insert(chunks.end(), more.begin(), more.end());
    }
    std::sort(chunks.begin(), chunks.end());
    chunks.erase(std::unique(chunks.begin(), chunks.end()), chunks.end());
    return chunks;
  }

 private:
  std::shared_ptr<const mirror> from_;
  tensor_places places_;
};

} // namespace

byte_presence_ptr all_present() {
  return std::make_shared<everything>();
}

byte_presence_ptr presence_in(std::shared_ptr<const mirror> from, tensor_places places) {
  return std::make_shared<mirrored>(std::move(from), std::move(places));
}

result<void> require_present(const byte_presence& presence, expert_key key) {
  if (presence.present(key))
    return {};
  return {ec::expert_not_here, "expert " + to_string(key) + ": " +
                                   std::to_string(presence.missing(key).size()) +
                                   " chunks of its weights have not been fetched yet"};
}

} // namespace coel::model
