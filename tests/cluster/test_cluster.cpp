#include "tests/cluster/test_cluster.hpp"

#include "actors/errors.hpp"
#include "model/quantise_model.hpp"
#include "model/weights.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <future>
#include <thread>
#include <unistd.h>

namespace coel::testing {

namespace {

using namespace std::chrono_literals;

struct system_config : caf::actor_system_config {
  system_config() { actors::configure(*this); }
};

constexpr uint64_t kv_bytes = 4 << 20;

/// Clusters of several test programs, and of one after another, do not meet.
std::string loopback_prefix() {
  static uint32_t clusters = 0;
  auto number = static_cast<uint32_t>(getpid()) * 31 + ++clusters;
  return "127." + std::to_string(1 + number / 250 % 250) + "." + std::to_string(1 + number % 250) +
         ".";
}

/// A session that keeps every logit it is given.
struct collected {
  std::promise<result<std::vector<float>>> done;
  std::vector<float> values;
  size_t rows = 0;
};

actors::session_actor::behavior_type collector(actors::session_actor::pointer self,
                                               std::shared_ptr<collected> to, size_t tokens) {
  using namespace actors;
  return {
      [](atom::status) { return component_status{}; },
      [](atom::begin) {},
      [=](const session_logits& logits) -> caf::result<session_move> {
        to->values.insert(to->values.end(), logits.values,
                          logits.values + size_t{logits.rows} * logits.vocab);
        to->rows += logits.rows;
        if (to->rows < tokens)
          return session_move{session_move::kind::wait, 0};
        to->done.set_value(std::move(to->values));
        self->quit();
        return session_move{session_move::kind::finish, 0};
      },
      [](const session_probe_ptr&) {},
      [](const app_answer&) {},
      [=](const error& why) { to->done.set_value(why); },
      [](atom::cancel) {},
      [](atom::gone) {},
      [](atom::deadline) {},
  };
}

} // namespace

const std::filesystem::path& demo_model_f16() {
  struct copy {
    std::filesystem::path path = std::filesystem::temp_directory_path() /
                                 ("coel-demo-f16-" + std::to_string(getpid()) + ".gguf");
    copy() {
      auto from = model::open_model(demo_model);
      BOOST_REQUIRE(from.ok());
      auto plan = model::plan_quantisation(**from, dtype::f16);
      BOOST_REQUIRE(plan.ok());
      BOOST_REQUIRE(model::quantise_model(**from, *plan, path, 2).ok());
    }
    ~copy() { std::filesystem::remove(path); }
  };
  static const copy made;
  return made.path;
}

test_cluster::test_cluster(size_t nodes, node_options options)
    : options_(std::move(options)), folder_(std::filesystem::temp_directory_path() /
                                            ("coel-cluster-" + std::to_string(getpid()))) {
  std::filesystem::remove_all(folder_);
  std::filesystem::create_directories(folder_);
  auto file = net::make_cluster("test");
  BOOST_REQUIRE(file.ok());
  auto prefix = loopback_prefix();
  for (size_t i = 0; i < nodes; ++i) {
    nodes_.emplace_back().address = prefix + std::to_string(i + 1);
    file->peers.push_back(nodes_.back().address);
  }
  file->link_port = 7420;
  file->hello_port = 7698;
  BOOST_REQUIRE(net::write_cluster_file(folder_ / "cluster.toml", *file).ok());
  ram_bytes_ = options_.share < 1 ? memory_for(options_.model, options_.share) : 0;
  if (options_.start_all)
    for (size_t i = 0; i < nodes; ++i)
      start(i);
}

uint64_t memory_for(const std::filesystem::path& model, double share) {
  auto device = *cpu::make_device({1, "", 0, false});
  auto source = model::open_model(model);
  BOOST_REQUIRE(source.ok());
  const auto& c = (*source)->config();
  auto dense = model::load_dense(**source, *device);
  BOOST_REQUIRE(dense.ok());
  uint64_t largest = 0;
  auto per_layer = model::experts_per_layer(**source);
  for (uint32_t l = 0; l < c.layers; ++l)
    for (uint32_t e = 0; e < per_layer; ++e)
      largest = std::max(
          largest, (*model::load_expert(**source, *device,
                                        {static_cast<layer_id>(l), static_cast<expert_id>(e)}))
                       ->bytes);
  compute::kv_shape page{c.layers, c.kv_heads, c.head_dim, 32, 1};
  auto pages = kv_bytes / page.page_bytes();
  auto experts = static_cast<uint64_t>(std::ceil(share * c.layers * per_layer) + 1) * largest;
  return dense->bytes + page.page_bytes() * pages +
         model::step_buffer_bytes(c, std::min(512u, c.context), 64) +
         actors::stage_buffer_bytes(c) + experts + largest * 9 / 10;
}

void test_cluster::start(size_t i) {
  auto& n = nodes_[i];
  n.device = *cpu::make_device({1, "", 0, false});
  if (options_.device)
    n.device = options_.device(i, n.device);
  n.config = std::make_unique<system_config>();
  n.system = std::make_unique<caf::actor_system>(*n.config);
  actors::node_config c;
  c.models = {{options_.model, "tiny"}};
  c.server.endpoints = {"ipc://" + (folder_ / ("n" + std::to_string(i) + ".sock")).string()};
  c.version = "test";
  c.ram_bytes = ram_bytes_;
  c.hosting.kv_bytes = kv_bytes;
  actors::cluster_config cluster;
  cluster.file = folder_ / "cluster.toml";
  cluster.state_folder = folder_ / ("state" + std::to_string(i));
  cluster.name = "node" + std::to_string(i);
  cluster.listen = {n.address};
  cluster.wire = options_.wire;
  cluster.missing_patience = options_.missing_patience;
  cluster.homing = options_.homing;
  c.cluster = cluster;
  if (options_.adjust)
    options_.adjust(i, c);
  auto made = actors::node::start(*n.system, n.device, c);
  BOOST_REQUIRE_MESSAGE(made.ok(), (made.ok() ? "" : made.err().message));
  n.running = std::move(*made);
}

void test_cluster::kill(size_t i) {
  nodes_[i].running.reset();
  nodes_[i].system.reset();
}

test_cluster::~test_cluster() {
  for (size_t i = 0; i < nodes_.size(); ++i)
    kill(i);
  std::filesystem::remove_all(folder_);
}

void test_cluster::wait_for(const std::function<std::string()>& what,
                            const std::function<bool()>& holds) {
  auto until = std::chrono::steady_clock::now() + 60s;
  do {
    if (holds())
      return;
    std::this_thread::sleep_for(25ms);
  } while (std::chrono::steady_clock::now() < until);
  BOOST_FAIL("waited a minute for " << what());
}

/// For failure texts.
std::string text_of(const actors::placement_status& p) {
  std::string out = "uncovered " + std::to_string(p.uncovered) + ", wanted " +
                    std::to_string(p.wanted) + ", loading " + std::to_string(p.loading) +
                    ", left to disks " + std::to_string(p.left) + ", pool of " +
                    std::to_string(p.pool_bytes >> 10) + " KiB, plan " +
                    std::to_string(p.planning.plan.epoch) + " of " + p.planning.planner;
  for (const auto& n : p.nodes)
    out += "; " + n.name + (n.up ? "" : " (down)") + " holds " + std::to_string(n.holds.count()) +
           ", room " + std::to_string(n.room);
  return out;
}

actors::placement_status test_cluster::placement(size_t i, const std::string& name) {
  caf::scoped_actor self{*nodes_[i].system};
  actors::placement_status out;
  self->request(node(i).neighbours()->updater(), 5s, actors::atom::details::value)
      .receive(
          [&](std::vector<actors::placement_status>& all) {
            for (auto& placed : all)
              if (placed.model == name)
                out = std::move(placed);
          },
          [](caf::error&) {});
  return out;
}

std::string test_cluster::links(size_t i) {
  caf::scoped_actor self{*nodes_[i].system};
  std::string out;
  self->request(node(i).neighbours()->perception(), 5s, actors::atom::details::value)
      .receive(
          [&](std::vector<actors::link_status>& all) {
            for (const auto& l : all)
              out += "; link " + l.endpoint + " " + l.name + " " + l.state + " " + l.why +
                     ", frames out " + std::to_string(l.counts.frames_out) + " in " +
                     std::to_string(l.counts.frames_in) + ", times down " +
                     std::to_string(l.counts.times_down);
          },
          [](caf::error&) {});
  return out;
}

void test_cluster::settle() {
  size_t running = 0;
  for (const auto& n : nodes_)
    running += n.running != nullptr;
  for (size_t i = 0; i < nodes_.size(); ++i)
    if (nodes_[i].running)
      wait_for(
          [&] {
            std::string text = "node " + std::to_string(i) + " to know " + std::to_string(running) +
                               " nodes with all experts";
            for (size_t j = 0; j < nodes_.size(); ++j)
              if (nodes_[j].running)
                text += "\nnode " + std::to_string(j) + ": " + text_of(placement(j));
            return text + links(i);
          },
          [&] {
            auto p = placement(i);
            size_t up = 0;
            for (const auto& n : p.nodes)
              up += n.up && n.holds.count() > 0;
            return !p.nodes.empty() && up == running && p.uncovered == 0 && p.wanted == 0 &&
                   p.loading == 0;
          });
}

result<std::vector<float>> test_cluster::logits(size_t i, const std::vector<int32_t>& tokens,
                                                size_t which) {
  using namespace actors;
  auto to = std::make_shared<collected>();
  auto outcome = to->done.get_future();
  auto& system = *nodes_[i].system;
  auto session = system.spawn(collector, to, tokens.size());
  static uint64_t requests = 1'000'000;
  caf::scoped_actor self{system};
  result<void> admitted;
  self->request(model(i, which).scheduler, 20s, admission{request_id{++requests}, tokens, 1, true},
                session)
      .receive([](bool) {}, [&](caf::error& why) { admitted = from_caf(why); });
  if (!admitted)
    return admitted.err();
  if (outcome.wait_for(60s) != std::future_status::ready)
    return {ec::deadline, "no logits in 60 s"};
  return outcome.get();
}

actors::network_totals test_cluster::network(size_t i, size_t which) {
  caf::scoped_actor self{*nodes_[i].system};
  actors::network_totals out;
  self->request(model(i, which).scheduler, 5s, actors::atom::details::value)
      .receive([&](actors::scheduler_status& s) { out = s.network; }, [](caf::error&) {});
  return out;
}

} // namespace coel::testing
