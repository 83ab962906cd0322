#include "actors/node.hpp"

#include "actors/errors.hpp"
#include "actors/inspector.hpp"
#include "actors/joiner.hpp"
#include "actors/tier.hpp"
#include "actors/tier_plan.hpp"

#include <caf/all.hpp>

#include <future>
#include <set>

namespace coel::actors {

void configure(caf::actor_system_config& config) {
  config.set("scheduler.policy", caf::atom("sharing")); // stealing runs a fan-out one by one
  config.set("scheduler.max-threads", size_t{2});       // the device's threads do the work
  config.set("scheduler.max-throughput", size_t{8});    // a busy actor lets others in
}

template <class Handle>
Handle node::keep(Handle actor) {
  actors_.push_back(caf::actor_cast<caf::strong_actor_ptr>(actor));
  return actor;
}

result<std::unique_ptr<node>> node::start(caf::actor_system& system, compute::device_ptr device,
                                          const node_config& config,
                                          const load_progress& progress) {
  if (config.models.empty() && !config.cluster)
    return {ec::bad_argument, "no model given: coel-node --model FILE"};
  if (config.models.empty() && config.join.none)
    return {
        ec::bad_argument,
        "no model given, and none of the cluster's is to be joined: --model FILE or --join NAME"};
  std::unique_ptr<node> made(new node(system, std::move(device)));
  if (config.cluster) {
    auto joined = cluster::open(system, *config.cluster, made->models_);
    if (!joined)
      return joined.err();
    made->cluster_ = std::move(*joined);
  }
  auto models = made->open_models(config, progress);
  if (!models)
    return models.err();
  if (auto ok = made->host(config, *models); !ok)
    return ok.err();
  models->clear(); // a helper has dropped a part of its own
  if (auto ok = made->load(progress); !ok)
    return ok.err();
  if (auto ok = made->serve(config); !ok)
    return ok.err();
  made->watch_device(config);
  return made;
}

namespace {

/// The model's hash, which neighbours know it by.
result<kept_model> describe(const std::filesystem::path& path, const std::string& name,
                            const std::filesystem::path& cache, const load_progress& progress) {
  model::manifest_options how;
  how.title = name;
  how.cache = cache;
  how.progress = [&](uint64_t done, uint64_t total) {
    if (progress)
      progress("hashes of " + name, done, total);
    return true;
  };
  auto made = model::make_manifest(path, how);
  if (!made)
    return made.err();
  auto files = model::model_files(path);
  if (!files)
    return files.err();
  return kept_model{std::make_shared<const model::manifest>(std::move(*made)), std::move(*files),
                    nullptr};
}

hosting_config clustered(const node_config& config, hosting_config how) {
  how.missing_patience = config.cluster->missing_patience;
  return how;
}

/// The cluster's plan says what is held here; a home may have to read the rest.
result<tier_plan> cluster_tiers(const std::vector<std::shared_ptr<served_model>>& models,
                                const tiering_choice& choice, const hosting_config& how) {
  tier_plan none;
  if (how.helper_only)
    return none;
  auto notes = plan_pools(models, choice.stores, how.pool_share);
  if (!notes)
    return notes.err();
  none.notes = std::move(*notes);
  return none;
}

} // namespace

result<std::vector<std::shared_ptr<served_model>>>
node::open_models(const node_config& config, const load_progress& progress) {
  std::vector<std::shared_ptr<served_model>> models;
  std::set<std::string> names;
  for (const auto& choice : config.models) {
    auto m = open_served_model(choice.path, choice.name, device_,
                               cluster_ && config.hosting.helper_only);
    if (!m)
      return m.err();
    if (!names.insert((*m)->name).second)
      return {ec::bad_argument,
              "two models are called '" + (*m)->name + "': name one with NAME=FILE"};
    if (cluster_) {
      auto kept = describe(choice.path, (*m)->name, config.cache_folder, progress);
      if (!kept)
        return kept.err();
      (*m)->hash = kept->manifest->hash();
      cluster_->kept().add(std::move(*kept));
    }
    models.push_back(std::move(*m));
  }
  return models;
}

/// What is loaded by then is what every token needs.
void node::start_near(const std::vector<std::shared_ptr<served_model>>& models) {
  auto own = device_->status().own_memory;
  if (!own)
    return;
  tier_config near;
  near.name = "card";
  near.option = "--gpu";
  near.near_to = device_;
  near.budget_bytes = own->budget_bytes;
  for (const auto& m : models)
    near.used_before[static_cast<size_t>(memory_kind::weights)] += m->dense.bytes;
  near_ = keep(system_.spawn(tier, std::move(near)));
}

/// In a cluster others have all that this node had, and their clients go on there; a node alone
/// goes on with what is left.
void node::watch_device(const node_config& config) {
  if (!near_)
    return;
  models_->rescues(!cluster_);
  auto lost = [this, config] {
    auto how = hosting_of(config);
    auto outcome = cluster_ ? result<void>(ec::device_lost, "the card is lost: restart the node")
                            : rescue(system_, *models_, ram_, how);
    if (!outcome)
      models_->rescues(false); // who waits is told
    if (config.device_lost)
      config.device_lost(outcome ? std::optional<error>() : outcome.err());
  };
  watch_ = std::make_unique<device_watch>(device_, lost);
}

hosting_config node::hosting_of(const node_config& config) const {
  auto how = config.hosting;
  how.near = near_;
  return how;
}

result<void> node::host(const node_config& config,
                        const std::vector<std::shared_ptr<served_model>>& models) {
  start_near(models);
  for (const auto& m : models)
    use_near(*m, hosting_of(config));
  tiering_choice choice{config.ram_bytes,    config.expert_share, config.hosting,
                        config.state_folder, {config.stores, {}}, config.lower};
  for (const auto& m : config.models)
    choice.stores.beside.push_back(model::usual_store_path(m.path));
  auto plan = cluster_ ? cluster_tiers(models, choice, config.hosting) : plan_tiers(models, choice);
  if (!plan)
    return plan.err();
  for (const auto& note : plan->notes)
    if (config.join.event)
      config.join.event("event=store " + note);
  tier_config ram;
  ram.budget_bytes = plan->any ? plan->budget_bytes : config.ram_bytes;
  for (const auto& m : models)
    if (!m->near)
      ram.used_before[static_cast<size_t>(memory_kind::weights)] += m->dense.bytes;
  ram.used_before[static_cast<size_t>(memory_kind::buffers)] = plan->other_bytes;
  ram_ = keep(system_.spawn(tier, std::move(ram)));
  for (size_t i = 0; i < models.size(); ++i) {
    const auto& m = models[i];
    auto how = hosting_of(config);
    if (models.size() > 1 && !how.record_routing.empty())
      how.record_routing += "." + m->name;
    if (m->tiered && !m->near)
      how.kv_bytes = m->tiered->plan.kv_bytes;
    auto hosted = cluster_ ? host_in_cluster(system_, m, ram_, clustered(config, how))
                           : host_alone(system_, m, ram_, how);
    if (!hosted)
      return {hosted.err().code, m->name + ": " + hosted.err().message};
    if (!hosted->scheduler && config.join.event)
      config.join.event("event=" + helper_event(*hosted));
    models_->add(std::move(*hosted));
  }
  return {};
}

/// In a cluster the updater says what is loaded here.
result<void> node::load(const load_progress& progress) {
  if (cluster_)
    return {};
  for (auto all = models_->all(); const auto& hosted : *all) {
    auto ok = hosted.model->tiered ? warm_experts(system_, hosted, ram_, progress)
                                   : load_experts(system_, hosted, progress);
    if (!ok)
      return ok;
  }
  return {};
}

result<void> node::serve(const node_config& config) {
  app_doorway door;
  auto server = net::app_server::start(config.server, door.handler());
  if (!server)
    return server.err();
  server_ = std::move(*server);
  if (cluster_)
    cluster_->join(ram_, config.ram_bytes, near_, server_->endpoints());
  start_joiner(config);
  auto about = device_->status();
  inspector_config inspected{
      {config.version, 0, about.name, about.threads, false, 0, 0}, models_, {ram_}, started_, {}};
  if (near_)
    inspected.tiers.push_back(near_);
  if (cluster_)
    inspected.cluster = cluster_->inspected();
  auto inspects = keep(system_.spawn(inspector, std::move(inspected)));
  socket_ = keep(system_.spawn(
      app_socket,
      app_socket_config{server_, models_, inspects,
                        cluster_ ? cluster_->perception() : perception_actor{},
                        cluster_ && config.cluster->homing ? cluster_->updater() : updater_actor{},
                        config.default_deadline_ms}));
  door.set(socket_);
  caf::anon_send(inspects, atom::begin::value, socket_);
  return {};
}

void node::start_joiner(const node_config& config) {
  if (!cluster_ || config.join.none || config.join.folder.empty())
    return;
  joiner_config j;
  j.folder = config.join.folder;
  j.names = config.join.names;
  j.cluster = cluster_->file().keys.public_key;
  j.perception = cluster_->perception();
  j.updater = cluster_->updater();
  j.models = models_;
  j.kept = cluster_->kept_ptr();
  j.ram = ram_;
  j.device = device_;
  j.hosting = clustered(config, hosting_of(config));
  j.event = config.join.event;
  joiner_ = system_.spawn<caf::detached>(actors::joiner, std::move(j));
}

/// It adds no model from then on.
void node::stop_joiner() {
  if (!joiner_)
    return;
  caf::scoped_actor self{system_};
  self->send_exit(joiner_, caf::exit_reason::user_shutdown);
  self->wait_for(joiner_);
  joiner_ = nullptr;
}

void node::wait_until_covered(const load_progress& progress) {
  if (!cluster_)
    return;
  auto covered = std::make_shared<std::promise<void>>();
  system_.spawn([covered, updater = cluster_->updater()](caf::event_based_actor* self) {
    self->request(updater, caf::infinite, atom::ready::value)
        .then([covered](bool) { covered->set_value(); },
              [covered](caf::error&) { covered->set_value(); });
  });
  auto done = covered->get_future();
  while (done.wait_for(std::chrono::milliseconds(200)) != std::future_status::ready)
    for (auto all = models_->all(); const auto& hosted : *all) {
      const auto& m = *hosted.model;
      uint64_t total = m.dense.bytes;
      for (uint32_t e = 0; e < m.experts_per_layer; ++e)
        if (auto bytes =
                model::expert_file_bytes(*m.source, {layer_id{0}, static_cast<expert_id>(e)}))
          total += *bytes * m.config().layers;
      if (progress)
        progress(m.name, std::min<uint64_t>(*m.resident_bytes, total), total);
    }
}

bool node::drain(std::chrono::milliseconds patience) {
  if (cluster_)
    caf::anon_send(cluster_->updater(), atom::drain::value);
  caf::scoped_actor self{system_};
  bool drained = false;
  self->request(socket_, patience, atom::drain::value)
      .receive([&](atom::drained) { drained = true; }, [](caf::error&) {});
  if (cluster_)
    cluster_->leave("this node stops");
  return drained;
}

const std::vector<std::string>& node::endpoints() const {
  return server_->endpoints();
}

node::~node() {
  watch_.reset();
  if (server_)
    server_->stop();
  stop_joiner();
  cluster_.reset();
  for (auto all = models_->all(); const auto& m : *all)
    stop(m);
  for (auto i = actors_.rbegin(); i != actors_.rend(); ++i)
    caf::anon_send_exit(*i, caf::exit_reason::user_shutdown);
}

} // namespace coel::actors
