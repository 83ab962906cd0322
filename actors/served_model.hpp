// What the actors of one model share: what it is does not change.
#pragma once

#include "actors/cost_book.hpp"
#include "actors/messages.hpp"
#include "compute/device.hpp"
#include "model/chat.hpp"
#include "model/graph.hpp"
#include "model/source.hpp"
#include "model/tokenizer.hpp"

#include <caf/allowed_unsafe_message_type.hpp>

#include <atomic>
#include <memory>
#include <string>

namespace coel::actors {

struct tiering;
class near_memory;

struct served_model {
  std::string name; ///< what requests call it
  model::source_ptr source;
  compute::device_ptr device;
  model::tokenizer_ptr tokenizer;
  model::dense_weights dense;
  model::chat_style chat = model::chat_style::plain;
  uint32_t experts_per_layer = 0; ///< routed, then slices of the shared expert
  hash256 hash{};                 ///< of its files; zero where no neighbour is asked
  std::shared_ptr<cost_book> costs;
  model::byte_presence_ptr presence = model::all_present(); ///< asked before an expert is read
  expert_source fetcher;           ///< brings what is not present; none: nobody does
  std::shared_ptr<tiering> tiered; ///< null: all of its experts that are hosted here fit
  /// In a cluster: by what this home reads experts that no node holds, while there are such
  /// (tiering::lends). Null: it cannot.
  std::shared_ptr<tiering> pool;
  std::shared_ptr<near_memory> near; ///< null: the device has no memory of its own
  /// Weights in memory: the part that every token needs, and the experts that a tier has brought.
  std::shared_ptr<std::atomic<uint64_t>> resident_bytes =
      std::make_shared<std::atomic<uint64_t>>(0);

  const model::model_config& config() const { return source->config(); }
  model::graph graph() const { return {config(), dense}; }
};
using served_model_ptr = std::shared_ptr<const served_model>;

} // namespace coel::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::served_model_ptr)
