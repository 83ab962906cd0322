// What changes a cluster: drain and expel.
#include "actors/inspector_picture.hpp"
#include "net/keys.hpp"

#include <nlohmann/json.hpp>

namespace coel::actors {

namespace {

using nlohmann::json;

std::string report(const char* action, const named_node& who, const char* then) {
  json document{
      {"action", action}, {"node", who.name}, {"key", who.key}, {"this", who.self}, {"then", then}};
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

constexpr const char* after_drain =
    "it takes no new work; stop it once no expert is held by it alone";
constexpr const char* after_expel = "only this node refuses it, and only until this node stops: "
                                    "also write its key under 'expelled' in the "
                                    "cluster file of every machine, and start their nodes again";

/// Calls `use` with the node that is meant.
template <class Use>
void with_node(inspector_ptr self, const std::string& said, text_promise promise, Use use) {
  const auto& cluster = self->state.config.cluster;
  if (!cluster)
    return refuse(promise, stands_alone());
  self->request(cluster->perception, caf::infinite, atom::members::value)
      .then(
          [=, facts = cluster->facts](const members_ptr& members) mutable {
            facts.members = members;
            auto who = find_node(facts, said);
            if (!who)
              return refuse(promise, who.err());
            use(*who);
          },
          [=](caf::error& why) mutable { promise.deliver(std::move(why)); });
}

} // namespace

void answer_drain(inspector_ptr self, const inspect_request& r, text_promise promise) {
  with_node(self, r.node, promise, [=](const named_node& who) mutable {
    auto done = report("drain", who, after_drain);
    if (who.self) {
      self->send(self->state.config.cluster->updater, atom::drain::value);
      promise.deliver(std::move(done));
      return;
    }
    self->request(who.link, caf::infinite, atom::drain::value)
        .then([=](bool) mutable { promise.deliver(std::move(done)); },
              [=](caf::error& why) mutable { promise.deliver(std::move(why)); });
  });
}

/// A node that is not here now can be expelled by its key.
void answer_expel(inspector_ptr self, const inspect_request& r, text_promise promise) {
  if (self->state.config.cluster && r.node.empty())
    return refuse(promise, {ec::bad_argument, "which node? give its name or its public key"});
  auto expel = [=](const named_node& who) mutable {
    if (who.self)
      return refuse(promise,
                    {ec::bad_argument, "a node cannot expel itself: ask another node, or stop it"});
    self->request(self->state.config.cluster->perception, caf::infinite, atom::expel::value,
                  who.key)
        .then(
            [=](const std::string&) mutable { promise.deliver(report("expel", who, after_expel)); },
            [=](caf::error& why) mutable { promise.deliver(std::move(why)); });
  };
  const auto& cluster = self->state.config.cluster;
  if (cluster && r.node != cluster->facts.key && net::check_key(r.node, "key").ok())
    return expel({false, r.node, "", {}});
  with_node(self, r.node, promise, expel);
}

} // namespace coel::actors
