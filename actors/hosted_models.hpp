// The models that this node runs, each with its actors. Grows while the node runs (a node joins a
// model that its neighbours bring); readers take a list that does not change under them.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/served_model.hpp"

#include <atomic>
#include <mutex>

namespace coel::actors {

struct hosted_model {
  served_model_ptr model;
  std::vector<gate_actor> gates;     ///< by layer
  std::vector<expert_actor> experts; ///< by layer, then expert_id
  head_actor head;
  helper_actor helper;
  scheduler_actor scheduler;            ///< none: this node is no home of the model
  recorder_actor recorder;              ///< none: routing is not recorded
  std::string no_home{};                ///< why this node is none
  compute::kv_cache_ptr cache{};        ///< of a home
  stage_actor stage{};                  ///< none: runs no layers of neighbours' sessions
  std::vector<component_actor> parts{}; ///< further actors of a home, to be listed and ended
  keeper_actor keeper{};                ///< none: the device has no memory of its own; in `parts`
};

class hosted_models {
 public:
  using list = std::vector<hosted_model>;

  std::shared_ptr<const list> all() const {
    std::lock_guard lock(mutex_);
    return list_;
  }
  /// The first where `name` is empty; null if there is none.
  std::shared_ptr<const hosted_model> named(const std::string& name) const {
    return find([&](const hosted_model& m) { return name.empty() || m.model->name == name; });
  }
  std::shared_ptr<const hosted_model> with(const hash256& hash) const {
    return find([&](const hosted_model& m) { return m.model->hash == hash; });
  }
  void add(hosted_model fresh) {
    std::lock_guard lock(mutex_);
    auto next = std::make_shared<list>(*list_);
    next->push_back(std::move(fresh));
    list_ = std::move(next);
  }

  /// In place of the one of its name.
  void replace(hosted_model fresh) {
    std::lock_guard lock(mutex_);
    auto next = std::make_shared<list>(*list_);
    for (auto& m : *next)
      if (m.model->name == fresh.model->name)
        m = fresh;
    list_ = std::move(next);
  }

  /// Whether a model goes on elsewhere when its device is lost (rescue.hpp): then its sessions
  /// wait.
  void rescues(bool yes) { rescues_ = yes; }
  bool rescues() const { return rescues_; }

  /// Unique on this node: for schedulers, whoever the session comes from.
  request_id next_request() { return request_id{++requests_}; }

  /// How far the models have come that are still being fetched, in percent by name.
  void fetching(const std::string& name, uint32_t percent) {
    std::lock_guard lock(mutex_);
    fetching_[name] = percent;
  }
  void fetched(const std::string& name) {
    std::lock_guard lock(mutex_);
    fetching_.erase(name);
  }
  std::map<std::string, uint32_t> fetching() const {
    std::lock_guard lock(mutex_);
    return fetching_;
  }

 private:
  template <class Match>
  std::shared_ptr<const hosted_model> find(Match match) const {
    auto now = all();
    for (const auto& m : *now)
      if (match(m))
        return {now, &m};
    return nullptr;
  }

  mutable std::mutex mutex_;
  std::atomic<bool> rescues_ = false;
  std::atomic<uint64_t> requests_ = 0;
  std::map<std::string, uint32_t> fetching_;
  std::shared_ptr<const list> list_ = std::make_shared<list>();
};
using hosted_models_ptr = std::shared_ptr<hosted_models>;

} // namespace coel::actors
