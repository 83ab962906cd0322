// SUPPLIER actor (see interfaces.hpp): carries out what policy/expert_supply orders. It waits for
// nothing and computes little, so that it can run on the thread of the device that asks it.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/tiering.hpp"
#include "actors/token_clock.hpp"
#include "policy/expert_supply.hpp"
#include "policy/foresight.hpp"

#include <deque>
#include <optional>

namespace coel::actors {

inline constexpr uint32_t pieces_each = 3; ///< matrices of an expert

struct supplier_config {
  served_model_ptr model;
  uint32_t loaders = 2;
};

struct supplier_state {
  static inline const char* name = "supplier";

  /// An expert on its way.
  struct job {
    expert_key key;
    steady::time_point since;
    bool urgent = false;        ///< a step waits for it
    bool alone = false;         ///< and did from the first, with nothing else under way
    steady::time_point read_at; ///< its last piece
    bool lazy = false; ///< it is read ahead: packed when somebody waits, while nothing can compute
    std::vector<std::pair<uint32_t, std::shared_ptr<const model::staged_read>>>
        staged; ///< till then
    std::vector<model::read_ticket>
        tickets; ///< of its pieces: each is packed as soon as it is read
    std::vector<std::shared_ptr<const compute::weight>> pieces;
    compute::buffer_ptr memory; ///< what a store's expert is read into
    uint32_t reads_due = 0, packs_due = 0;
    result<void> outcome; ///< the first failure
  };
  struct pending_piece {
    uint64_t job = 0;
    uint32_t piece = 0;
    std::shared_ptr<const model::staged_read> staged;
  };

  supplier_config config;
  std::unique_ptr<policy::expert_supply> supply;
  std::unique_ptr<policy::foresight> foresight;
  std::vector<model::expert_ptr> held; ///< [layers, experts]
  std::vector<bool> checked;           ///< [layers, experts], read from the store as it was packed
  std::map<uint64_t, job> jobs;
  std::map<uint64_t, lease_listener> gates;     ///< by open step
  std::map<uint64_t, experts_lent> to_say;      ///< by step, at the end of a handler
  std::deque<pending_piece> packs, packs_ahead; ///< bounded by the jobs
  std::vector<piece_loader_actor> idle;
  std::optional<caf::typed_response_promise<uint64_t>> filled;
  std::optional<caf::typed_response_promise<uint64_t>> resized; ///< of a pool, becoming smaller
  std::vector<bool> left; ///< [layers, experts] of a pool: may be read before somebody waits
  foreseer_actor foreseer;
  copy_maker_actor copy_maker; ///< held: nobody else does while it waits for the disk
  tiering_status counted;
  std::vector<double> used; ///< [layers, experts], tokens that chose it
  bool carrying_out = false;
  double demand_us = 0; ///< mean of the last experts that were waited for, until they could run
  double waited = 0;    ///< share of claimed experts, of decoding, lately
  double waits_seen = 0;
  double busy = 0; ///< share of time in which something is read, lately
  token_clock clock;
  meter cost;
  double alone_us = 0; ///< the same of those that nothing else was read beside
  double pack_us = 0;  ///< of these, what came after the reading
  std::map<uint64_t, std::map<expert_id, model::expert_ptr>> lower; ///< by step: copies it runs
  std::shared_ptr<model::disk_reader> reader; ///< ends first; null: it rests (supplier_pool.hpp)

  size_t slot(expert_key key) const {
    return size_t{index(key.layer)} * config.model->config().experts + index(key.expert);
  }
};

/// Errors go to who asks to fill it: those of disk_reader::start and deep_routers::load.
supplier_actor::behavior_type supplier(supplier_actor::stateful_pointer<supplier_state> self,
                                       supplier_config config);

} // namespace coel::actors
