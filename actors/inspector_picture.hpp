// What the inspector asks of other actors before it makes a document. For inspector*.cpp only.
#pragma once

#include "actors/errors.hpp"
#include "actors/inspector.hpp"

#include <caf/all.hpp>

namespace coel::actors {

using inspector_ptr = inspector_actor::stateful_pointer<inspector_state>;
using text_promise = caf::typed_response_promise<std::string>;

/// Collects the answers of several actors. An actor that fails is left out.
class gathering {
 public:
  explicit gathering(std::function<void()> done) : done_(std::move(done)) {}

  void asked() { ++due_; }
  /// Of one question; and once after the first of them are asked, which may be none. The last runs
  /// `done`.
  void over() {
    if (--due_ == 0)
      done_();
  }

 private:
  std::function<void()> done_;
  size_t due_ = 1;
};
using gathering_ptr = std::shared_ptr<gathering>;

/// Asks `whom`; the answer goes to `take`, which may ask on.
template <class Answer, class Whom, class Take, class... Question>
void ask(inspector_ptr self, const gathering_ptr& until, const Whom& whom, Take take,
         Question... question) {
  until->asked();
  self->request(whom, caf::infinite, question...)
      .then(
          [until, take](Answer& answer) {
            take(std::move(answer));
            until->over();
          },
          [until](caf::error&) { until->over(); });
}

struct picture {
  std::shared_ptr<const hosted_models::list> hosted; ///< those of the moment when it was begun
  node_facts node;
  std::vector<model_facts> models;
  std::vector<tier_status> tiers;
  node_actors actors;
  std::optional<cluster_facts> cluster;
};
using picture_ptr = std::shared_ptr<picture>;

/// Invalid once the socket is gone.
app_socket_actor socket_of(const inspector_state& st);

/// What most documents need: totals, schedulers, tiers.
void gather(inspector_ptr self, const picture_ptr& p, const gathering_ptr& until);
void gather_actors(inspector_ptr self, const picture_ptr& p, const gathering_ptr& until);
/// Links, members, placement, network; nothing on a node that stands alone.
void gather_cluster(inspector_ptr self, const picture_ptr& p, const gathering_ptr& until);

/// One picture, taken before the answer is made.
template <class Gather, class Make>
void answer_picture(inspector_ptr self, text_promise promise, Gather gather_into, Make make) {
  auto p = std::make_shared<picture>();
  p->hosted = self->state.config.models->all();
  auto until = std::make_shared<gathering>([=]() mutable { promise.deliver(make(*p)); });
  gather_into(self, p, until);
  until->over();
}

inline void refuse(text_promise promise, const error& why) {
  promise.deliver(to_caf(why));
}

/// The answer to questions about a cluster where there is none.
inline error stands_alone() {
  return {ec::bad_argument, "this node stands alone: start it with --cluster to join others"};
}

/// what = "drain" and "expel".
void answer_drain(inspector_ptr self, const inspect_request& r, text_promise promise);
void answer_expel(inspector_ptr self, const inspect_request& r, text_promise promise);

} // namespace coel::actors
