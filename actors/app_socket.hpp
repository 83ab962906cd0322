// APP SOCKET actor: requests in, answers out (see interfaces.hpp).
#pragma once

#include "actors/hosted_models.hpp"
#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "net/app_server.hpp"

#include <optional>

namespace coel::actors {

struct app_socket_config {
  std::shared_ptr<net::app_server> server;
  hosted_models_ptr models; ///< the first is meant where a request names none
  inspector_actor inspector;
  perception_actor perception; ///< knows who else answers; null where the node stands alone
  updater_actor homes{};       ///< knows who is a better home; null: sessions stay
  uint32_t default_deadline_ms = 600'000;
};

struct app_socket_state {
  static inline const char* name = "app_socket";
  app_socket_config config;
  std::map<std::pair<uint64_t, uint64_t>, session_actor> sessions; ///< by client and its id
  app_totals totals;
  std::vector<caf::typed_response_promise<atom::drained>> waiting_for_drain;
  meter cost;
};

app_socket_actor::behavior_type
app_socket(app_socket_actor::stateful_pointer<app_socket_state> self, app_socket_config config);

/// Handlers for a server that is started before the actor exists: requests wait until `set`.
class app_doorway {
 public:
  net::app_handler handler();
  void set(const app_socket_actor& actor);

 private:
  struct shared;
  std::shared_ptr<shared> shared_ = make();
  static std::shared_ptr<shared> make();
};

} // namespace coel::actors
