#include "actors/node.hpp"

#include "actors/errors.hpp"
#include "actors/inspector.hpp"
#include "actors/tier.hpp"

#include <caf/all.hpp>

#include <set>

namespace coel::actors {

void configure(caf::actor_system_config& config) {
  config.set("scheduler.policy", caf::atom("sharing"));       // stealing runs a fan-out one by one
  config.set("scheduler.max-threads", size_t{2});             // the device's threads do the work
  config.set("scheduler.max-throughput", size_t{8});          // a busy actor lets others in
}

template <class Handle>
Handle node::keep(Handle actor) {
  actors_.push_back(caf::actor_cast<caf::strong_actor_ptr>(actor));
  return actor;
}

result<std::unique_ptr<node>> node::start(caf::actor_system& system, compute::device_ptr device,
                                          const node_config& config, const load_progress& progress) {
  if (config.models.empty())
    return {ec::bad_argument, "no model given: coel-node --model FILE"};
  std::unique_ptr<node> made(new node(system, std::move(device)));
  if (auto ok = made->host(config, progress); !ok)
    return ok.err();
  if (auto ok = made->serve(config); !ok)
    return ok.err();
  return made;
}

result<void> node::host(const node_config& config, const load_progress& progress) {
  std::vector<served_model_ptr> models;
  std::set<std::string> names;
  tier_config ram;
  ram.budget_bytes = config.ram_bytes;
  for (const auto& choice : config.models) {
    auto m = open_served_model(choice.path, choice.name, device_);
    if (!m)
      return m.err();
    if (!names.insert((*m)->name).second)
      return {ec::bad_argument, "two models are called '" + (*m)->name + "': name one with NAME=FILE"};
    ram.used_before[static_cast<size_t>(memory_kind::weights)] += (*m)->dense.bytes;
    models.push_back(std::move(*m));
  }
  ram_ = keep(system_.spawn(tier, std::move(ram)));
  for (const auto& m : models) {
    auto how = config.hosting;
    if (models.size() > 1 && !how.record_routing.empty())
      how.record_routing += "." + m->name;
    auto alone = std::make_shared<route_view>(route_view{{m->config().layers, m->experts_per_layer, this_node}, {}});
    auto hosted = host_model(system_, m, ram_, how, alone);
    if (!hosted)
      return {hosted.err().code, m->name + ": " + hosted.err().message};
    models_->add(std::move(*hosted));
  }
  for (const auto& hosted : *models_->all())
    if (auto ok = load_experts(system_, hosted, progress); !ok)
      return ok;
  return {};
}

result<void> node::serve(const node_config& config) {
  auto about = device_->status();
  inspector_config inspected{{config.version, 0, about.name, about.threads, false, 0, 0}, {}, {ram_}, started_};
  for (const auto& m : *models_->all())
    inspected.models.push_back({m.model, m.scheduler, m.gates, *m.model->resident_bytes});
  auto inspects = keep(system_.spawn(inspector, std::move(inspected)));
  app_doorway door;
  auto server = net::app_server::start(config.server, door.handler());
  if (!server)
    return server.err();
  server_ = std::move(*server);
  socket_ = keep(system_.spawn(app_socket, app_socket_config{server_, models_, inspects, config.default_deadline_ms}));
  door.set(socket_);
  caf::anon_send(inspects, atom::begin::value, socket_);
  return {};
}

bool node::drain(std::chrono::milliseconds patience) {
  caf::scoped_actor self{system_};
  bool drained = false;
  self->request(socket_, patience, atom::drain::value)
      .receive([&](atom::drained) { drained = true; }, [](caf::error&) {});
  return drained;
}

const std::vector<std::string>& node::endpoints() const { return server_->endpoints(); }

node::~node() {
  if (server_)
    server_->stop();
  for (const auto& m : *models_->all())
    stop(m);
  for (auto i = actors_.rbegin(); i != actors_.rend(); ++i)
    caf::anon_send_exit(*i, caf::exit_reason::user_shutdown);
}

} // namespace coel::actors
