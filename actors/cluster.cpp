#include "actors/cluster.hpp"

#include "actors/lane.hpp"
#include "actors/perception.hpp"
#include "actors/updater.hpp"

#include <caf/all.hpp>

#include <fstream>
#include <random>
#include <thread>
#include <unistd.h>

namespace coel::actors {

namespace {

/// Both sides must agree on it: the arithmetic of experts is part of the protocol.
constexpr const char* build_features = "coel-link";

std::string host_name() {
  char text[256] = {};
  gethostname(text, sizeof text - 1);
  return text;
}

uint64_t random_number() {
  std::random_device source;
  return (uint64_t{source()} << 32) | source();
}

std::string with_port(const std::string& peer, uint16_t port) {
  return peer.find(':') == std::string::npos ? peer + ":" + std::to_string(port) : peer;
}

uint16_t port_of(const std::string& endpoint) {
  return static_cast<uint16_t>(std::stoul(endpoint.substr(endpoint.rfind(':') + 1)));
}

/// Memory that could be had now, cached files counted as free, but for a tenth of all of it.
uint64_t free_memory() {
  auto all =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  std::ifstream info("/proc/meminfo");
  std::string name, unit;
  uint64_t kib = 0, free = all / 2;
  while (info >> name >> kib && std::getline(info, unit))
    if (name == "MemAvailable:")
      free = kib << 10;
  return free > all / 10 ? free - all / 10 : free / 2;
}

} // namespace

model_record files_record(const kept_models& kept, const served_model& m) {
  model_record r;
  auto files = kept.find(m.hash);
  if (!files)
    return r;
  if (!files->mirror || files->mirror->complete()) {
    r.complete = true;
    return r;
  }
  auto here = files->mirror->present();
  std::vector<uint8_t> bytes(here.encode().size());
  std::transform(here.encode().begin(), here.encode().end(), bytes.begin(),
                 [](std::byte b) { return static_cast<uint8_t>(b); });
  r.chunks = bitmap(here.size(), std::move(bytes));
  return r;
}

result<std::unique_ptr<cluster>>
cluster::open(caf::actor_system& system, const cluster_config& config, hosted_models_ptr models) {
  std::unique_ptr<cluster> made(new cluster(system, std::move(models)));
  auto file = net::read_cluster_file(config.file);
  if (!file)
    return file.err();
  made->file_ = std::move(*file);
  auto own = net::node_keys(config.state_folder);
  if (!own)
    return own.err();
  made->own_ = std::move(*own);
  made->planning_ = config.planning;
  made->planning_.wire_value_bytes = config.wire == net::wire_type::f32    ? 4
                                     : config.wire == net::wire_type::int8 ? 1.0625
                                                                           : 2;
  made->name_ = config.name.empty() ? host_name() : config.name;
  if (auto ok = made->listen(config); !ok)
    return ok.err();
  made->start_hello(config);
  made->spawn_perception(config);
  return made;
}

/// A frame goes to its link on this very thread, and with it whatever it sets in motion: a wake-up
/// of another thread would cost more than the work (see lane.hpp).
net::receiver_handler cluster::handler() {
  auto directory = directory_;
  auto to_perception = [=](const std::string& key, const std::string& address, frame_ptr frame) {
    if (auto perception = directory->perception())
      caf::anon_send(perception, stranger{key, address, std::move(frame)});
  };
  net::receiver_handler h;
  h.on_frame = [=, &system = system_](const std::string& key, const std::string& address,
                                      zmq::message_t frame) {
    auto shared = std::make_shared<const zmq::message_t>(std::move(frame));
    auto link = directory->find(key);
    if (!link || net::kind_of(bytes_of(shared)) == net::link_frame_kind::greeting)
      return to_perception(key, address, std::move(shared));
    lane(system).deliver(link, caf::make_message(atom::frame::value, std::move(shared)));
  };
  h.on_gone = [=](const std::string& key) {
    if (auto link = directory->find(key))
      caf::anon_send(caf::actor_cast<neighbour_actor>(link), atom::gone::value);
  };
  return h;
}

result<void> cluster::listen(const cluster_config& config) {
  net::receiver_options options;
  auto port = config.link_port.value_or(file_.link_port);
  for (const auto& address : config.listen)
    options.endpoints.push_back("tcp://" + with_port(address, port));
  if (options.endpoints.empty())
    options.endpoints = {"tcp://*:" + std::to_string(port)};
  options.cluster = file_.keys;
  options.members = file_.members;
  options.expelled = file_.expelled;
  auto receiver = net::link_receiver::start(*context_, std::move(options), handler());
  if (!receiver)
    return receiver.err();
  receiver_ = std::move(*receiver);
  return {};
}

net::greeting_frame cluster::greeting(const cluster_config& config) const {
  net::greeting_frame g;
  do
    g.boot = random_number();
  while (g.boot == 0);
  g.link_port = port_of(receiver_->endpoints().front());
  if (config.listen.size() == 1)
    g.link_address = config.listen.front().substr(0, config.listen.front().find(':'));
  g.name = name_;
  g.build = build_features;
  return g;
}

/// Peers that are named by address are told by HELLO too; others are looked up by the resolver.
void cluster::start_hello(const cluster_config& config) {
  auto port = config.hello_port.value_or(file_.hello_port);
  if (port == 0)
    return;
  perception_options options;
  options.seed = static_cast<uint32_t>(random_number());
  options.bound.port = port;
  auto add_peers = [&](const std::vector<std::string>& peers) {
    for (const auto& peer : peers)
      if (auto at = net::parse_udp_address(peer.substr(0, peer.find(':')), port))
        options.static_peers.push_back(*at);
  };
  add_peers(file_.peers);
  add_peers(config.peers);
  if (config.listen.size() == 1)
    if (auto at = net::parse_udp_address(
            config.listen.front().substr(0, config.listen.front().find(':')), port)) {
      options.bound = *at;
      options.broadcast = false;
    }
  perception_callbacks calls;
  calls.changed = [](const policy::neighbour_event&) {};
  calls.trouble = [](const error& why) {
    net::say_on_stderr("event=hello-trouble why=\"" + why.message + "\"");
  };
  calls.turned_away = [](uint64_t times) {
    net::say_on_stderr("event=refused-hello times=" + std::to_string(times) +
                       " hint=\"packets to the port of HELLOs that are none, or of more senders "
                       "than are looked at: see who sends them\"");
  };
  auto link_port = config.link_port.value_or(file_.link_port);
  calls.candidate = [directory = directory_, link_port](policy::ipv4_address address) {
    if (auto to = directory->perception())
      caf::anon_send(to, atom::heard::value,
                     "tcp://" + net::ipv4_text(address) + ":" + std::to_string(link_port));
  };
  auto loop = perception_loop::start(std::move(options), std::move(calls));
  if (loop)
    hello_ = std::move(*loop);
  else
    hello_trouble_ = loop.err();
}

void cluster::spawn_perception(const cluster_config& config) {
  library_ = system_.spawn<caf::detached>(library, kept_);
  perception_config p;
  p.to.own = own_;
  p.to.server_key = file_.keys.public_key;
  p.own = greeting(config);
  p.context = context_;
  p.directory = directory_;
  p.models = models_;
  p.library = library_;
  p.wire = config.wire;
  auto look_for = [&](const std::vector<std::string>& peers) {
    for (const auto& peer : peers)
      p.peers.push_back(with_port(peer, config.link_port.value_or(file_.link_port)));
  };
  look_for(file_.peers);
  look_for(config.peers);
  p.expelled = {file_.expelled.begin(), file_.expelled.end()};
  p.refuse = [receiver = std::weak_ptr(receiver_)](const std::string& key) {
    if (auto still = receiver.lock())
      still->expel(key);
  };
  p.connected = [hello = std::weak_ptr(hello_)](const std::string& endpoint, bool up) {
    auto loop = hello.lock();
    auto address = net::parse_udp_address(endpoint.substr(endpoint.find("//") + 2), 1);
    if (loop && address)
      loop->set_connected(address->address, up);
  };
  perception_ = system_.spawn(actors::perception, std::move(p));
  directory_->set_perception(perception_);
}

void cluster::join(const tier_actor& ram, uint64_t ram_bytes, const tier_actor& card,
                   std::vector<std::string> app_endpoints) {
  updater_config u;
  u.models = models_;
  u.ram = ram;
  u.ram_bytes = ram_bytes ? ram_bytes : free_memory();
  u.card = card;
  u.perception = perception_;
  u.key = own_.public_key;
  u.name = name_;
  u.app_endpoints = std::move(app_endpoints);
  u.planning = planning_;
  u.load = [hello = std::weak_ptr(hello_)](const policy::node_load& load) {
    if (auto loop = hello.lock())
      loop->set_status(load);
  };
  u.files = [kept = kept_](const served_model& m) { return files_record(*kept, m); };
  updater_ = system_.spawn(actors::updater, std::move(u));
  caf::anon_send(perception_, atom::begin::value, updater_);
}

inspected_cluster cluster::inspected() const {
  inspected_cluster out;
  out.facts.name = name_;
  out.facts.key = own_.public_key;
  out.facts.endpoints = receiver_->endpoints();
  if (hello_trouble_)
    out.facts.hello_trouble = hello_trouble_->message;
  else if (!hello_)
    out.facts.hello_trouble = "turned off: --hello-port 0";
  out.hello = hello_;
  out.receiver = receiver_;
  out.perception = perception_;
  out.updater = updater_;
  return out;
}

void cluster::leave(const std::string& reason) {
  caf::anon_send(perception_, atom::leave::value, reason);
}

cluster::~cluster() {
  if (hello_)
    hello_->stop();
  receiver_.reset(); // no frames any more
  directory_->set_perception({});
  auto end = [](const auto& actor) {
    if (actor)
      caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
  };
  end(updater_);
  end(perception_);
  end(library_);
}

} // namespace coel::actors
