#include "actors/routing_samples.hpp"

#include "net/link_frames.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

constexpr std::chrono::seconds patience{5}; // a plan is made without those who are slower

struct gathering {
  routing_samples got;
  size_t due = 0;
  std::function<void(const routing_samples&)> then;

  void came(const std::string& key, routing_sample_ptr sample) {
    if (sample)
      got[key] = std::move(sample);
    if (--due == 0)
      then(got);
  }
};
using gathering_ptr = std::shared_ptr<gathering>;

/// Null unless it is of a model of that shape: a neighbour may say anything.
routing_sample_ptr sample_in(const file_block& block, const model::model_config& c) {
  auto trace = policy::parse_routing(block.bytes);
  if (!trace || !(trace->shape == policy::routing_shape{c.layers, c.experts, c.top_k}))
    return nullptr;
  return std::make_shared<const policy::routing_trace>(std::move(*trace));
}

std::vector<const member*> decoding_homes(const updater_state& st, const placed_model& m) {
  std::vector<const member*> out;
  for (const auto& who : *st.members)
    if (const auto* r = record_of(who, m); r && r->home && r->tokens_per_s > 0)
      out.push_back(&who);
  return out;
}

} // namespace

void gather_samples(updater_ptr self, const placed_model& m,
                    std::function<void(const routing_samples&)> then) {
  const auto& st = self->state;
  auto all = std::make_shared<gathering>();
  auto homes = decoding_homes(st, m);
  all->due = homes.size() + 1;
  all->then = std::move(then);
  self->request(m.hosted.scheduler, patience, atom::sample::value)
      .then(
          [all, key = st.config.key](const routing_sample_ptr& sample) { all->came(key, sample); },
          [all, key = st.config.key](caf::error&) { all->came(key, nullptr); });
  file_want ask{m.hosted.model->hash, net::want_frame::routing_file, 0, net::max_block_bytes};
  for (const auto* who : homes)
    self->request(who->link, patience, ask)
        .then([all, key = who->key, model = m.hosted.model](
                  const file_block& block) { all->came(key, sample_in(block, model->config())); },
              [all, key = who->key](caf::error&) { all->came(key, nullptr); });
}

} // namespace coel::actors
