// One model's experts between disk and memory: what is read, kept, read ahead and let go of. The
// tier actor drives it from one thread; it waits for nothing.
#pragma once

#include "actors/tiering.hpp"
#include "model/deep_routers.hpp"
#include "actors/meter.hpp"
#include "policy/expert_cache.hpp"
#include "policy/expert_predictor.hpp"
#include "policy/prefetch_switch.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <set>

namespace coel::actors {

class tiered_model {
 public:
  /// What it asks of its tier.
  struct surroundings {
    /// Memory of the tier's budget, if so much is left besides; it comes back by `freed`.
    std::function<bool(uint64_t bytes, uint64_t leave)> take;
    std::function<void(expert_packing)> pack; ///< the outcome goes to `packed`
    /// From a thread of the reader: to be handed to `arrived` on the tier's.
    std::function<void(expert_key, uint64_t, result<model::staged_read>)> post;
  };
  using answer = std::function<void(result<lease>)>;

  /// Errors: those of disk_reader::start.
  static result<std::unique_ptr<tiered_model>> make(served_model_ptr model,
                                                    const surroundings& around);

  /// Somebody waits for that expert.
  void demand(expert_key key, answer to);
  void routed(const layer_routed& what);
  void arrived(expert_key key, uint64_t job, result<model::staged_read> got);
  void packed(expert_key key, result<lease> got);
  /// Memory came back to the budget.
  void freed() { pack_what_fits(); }
  /// Fills the memory for experts; `then` gets the bytes that are there.
  void warm(std::function<void(uint64_t)> then);

  tiering_status status() const;
  /// What an earlier run has learnt. Errors: bad_file (of another model or version, or damaged).
  result<void> restore(std::span<const std::byte> state);
  /// Of the predictor, to be kept; empty: it has learnt nothing since the last call.
  std::vector<std::byte> state_to_keep();
  const std::filesystem::path& state_file() const { return model_->tiered->state_file; }

 private:
  enum class purpose : uint8_t { demand, ahead, warm };
  struct job {
    uint64_t id = 0;
    uint64_t turn = 0; ///< of those that somebody waits for
    purpose why{};
    model::read_ticket ticket{};
    std::vector<answer> waiting;
    std::shared_ptr<model::staged_read> staged; ///< it has been read
    bool admitted = false; ///< the cache counts it
    bool packing = false;
    bool repeated = false; ///< a read has failed
  };
  /// An expert that was predicted for a layer's next turn.
  struct foreseen {
    uint32_t ahead = 0;
    bool shadow = false; ///< it was not read: its layer is switched off
    steady::time_point since;
  };
  /// A sequence that decodes.
  struct stream {
    policy::route_history history;
    uint32_t next_layer = 0;
    uint64_t seen = 0; ///< step
    std::vector<float> residual; ///< of the layer just routed; empty: not told
    std::vector<policy::expert_predictor::prediction> open;
  };

  tiered_model(served_model_ptr model, surroundings around);
  size_t slot(expert_key k) const { return cache_.shape().slot(k); }
  bool held(expert_key k) const { return held_[slot(k)].weights != nullptr; }
  bool in_use(expert_key k) const;

  void start(expert_key key, purpose why, answer to);
  void hurry(job& j);
  void expect(layer_id layer, const std::set<expert_id>& used);
  void read(expert_key key, job& j);
  void fail(expert_key key, const error& why);
  void discard(expert_key key);
  void pack_what_fits();
  void free_a_slot();
  bool make_room(expert_key key, job& j);
  bool is_next(expert_key key, const job& j) const;
  void note_here(expert_key key);
  void give_up_old();
  bool admit(expert_key key);
  void drop(expert_key key);
  void drop_one_orphan();
  lease use_ahead(expert_key key);
  uint64_t ahead_limit() const;
  uint64_t ahead_room() const;
  bool has_room_ahead() const;
  uint32_t jobs_ahead() const;

  void count_uses(const layer_routed& what, const std::set<expert_id>& used);
  void judge_foreseen(layer_id layer, const std::set<expert_id>& used);
  void learn(const layer_routed& what);
  void predict(const layer_routed& what);
  void foresee(layer_id layer, uint32_t ahead, std::span<const float> probability);
  void foresee_all(layer_id layer);
  void forget_old_streams();
  void warm_more();
  double read_us(expert_key key) const;

  void note_waiting();
  void note_token(const layer_routed& what);
  policy::speed_answer predicted(double disk_bytes_per_s) const;

  served_model_ptr model_;
  surroundings around_;
  const model::expert_files& files_;
  policy::expert_cache cache_;
  std::unique_ptr<policy::expert_predictor> predictor_;
  std::unique_ptr<model::deep_routers> routers_;
  std::vector<policy::prefetch_switch> switches_; ///< by layer
  std::vector<lease> held_;                       ///< [layers, experts]
  std::set<expert_key> ahead_;                    ///< held although the cache does not count them
  std::set<expert_key> orphans_; ///< of these: they were asked for, and nobody has come for them
  /// Of the layer that was routed last. None of these makes room for another: the gate runs them in
  /// order, so one that had to be read again would wait for memory that those behind it hold.
  std::map<expert_key, bool> wanted_; ///< whether it has its memory
  uint64_t ahead_bytes_ = 0;
  std::map<expert_key, job> jobs_;
  std::vector<expert_key> read_; ///< waiting for memory
  std::map<expert_key, foreseen> foreseen_;
  std::map<uint64_t, stream> streams_; ///< by session
  std::vector<expert_key> to_warm_;    ///< last first
  std::function<void(uint64_t)> warmed_;
  tiering_status counted_;
  std::vector<double> used_; ///< [layers, experts], tokens that chose it
  steady::time_point wait_since_;
  bool waited_for_ = false; ///< somebody waits for an expert
  double wait_us_ = 0;      ///< so far of this token
  steady::time_point token_since_;
  std::optional<request_id> token_of_; ///< the session that decodes alone
  std::vector<float> gate_; ///< [experts], used again
  uint64_t next_job_ = 1;
  uint64_t next_turn_ = 1;
  uint64_t steps_ = 0;
  bool learnt_ = false;
  std::unique_ptr<model::disk_reader> reader_; ///< ends first
};

} // namespace coel::actors
