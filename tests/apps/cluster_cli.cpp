// `coel` and `coel-inspect` against a node of a cluster whose answers are known.
#include "net/app_server.hpp"
#include "tests/apps/client_run.hpp"
#include "tests/apps/inspect_support.hpp"
#include "tests/net/fake_node.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>

using namespace coel;
using namespace coel::net;
using coel::net::test::scratch_folder;
using coel::test::cluster_document;
using coel::test::key_of;
using nlohmann::json;

namespace {

/// n1, whose neighbour n2 holds two experts alone when it is drained, one fewer at each look.
class clustered_node {
 public:
  explicit clustered_node(const scratch_folder& folder) {
    app_server_options options;
    options.endpoints = {"ipc://" + (folder.path() / "coel/node.sock").string()};
    app_handler handler{[this](auto who, auto id, auto request) { answer(who, id, request); },
                        [](auto) {}};
    std::lock_guard lock(mutex_); // a request may come before start() returns
    auto started = app_server::start(std::move(options), std::move(handler));
    if (!started.ok())
      throw std::runtime_error(to_string(started.err()));
    server_ = std::move(*started);
  }
  ~clustered_node() { server_->stop(); }

  std::vector<std::string> done() {
    std::lock_guard lock(mutex_);
    return done_;
  }

 private:
  void answer(client_ref who, uint64_t id, const app_request& request) {
    std::lock_guard lock(mutex_);
    const auto& ask = std::get<inspect_request>(request);
    if (ask.what == "drain" || ask.what == "expel")
      return act(who, id, ask);
    reply(who, id, ask.what == "cluster" ? cluster() : status());
  }
  void act(client_ref who, uint64_t id, const inspect_request& ask) {
    if (ask.node == "n9")
      return server_->send(who, id,
                           error{ec::bad_argument, "no node is called 'n9'; there are: n1, n2"});
    done_.push_back(ask.what + " " + ask.node);
    reply(who, id,
          {{"action", ask.what},
           {"node", ask.node.empty() ? "n1" : ask.node},
           {"key", key_of('2')},
           {"this", ask.node.empty()},
           {"then", "write it down"}});
  }
  json cluster() {
    auto d = cluster_document();
    d["placement"][0]["uncovered"] = 0;
    d["placement"][0]["nodes"][1]["alone"] = alone_;
    alone_ -= alone_ > 0;
    d["placement"][0]["plan"] = plan();
    return d;
  }
  static json plan() {
    auto option = [](const char* name, double us, double rounds) {
      return json{{"name", name},
                  {"us_per_token", us},
                  {"request_us", us * 128},
                  {"rounds_per_token", rounds},
                  {"bytes_per_token", 2048}};
    };
    json options = {option("layers", 1500, 2), option("random", 2500, 3.9)};
    json nodes = {{{"name", "n1"}, {"key", key_of('1')}, {"experts", 40}, {"bytes", 40'000'000}},
                  {{"name", "n\x1b[2J"}, {"key", key_of('2')}, {"experts", 32}, {"bytes", 1}}};
    json promised = json::array({{{"home", "n1"}, {"bytes", 40'000'000}}});
    return {{"epoch", 4},
            {"planner", "n1"},
            {"chosen", options[0]},
            {"options", options},
            {"nodes", nodes},
            {"why", "layers answers soonest"},
            {"note", "planned for 2 nodes"},
            {"memory", {{"capacity_bytes", 90'000'000}, {"promised", promised}}}};
  }
  json status() {
    auto d = coel::test::status_document();
    auto advised = coel::test::network_entry();
    advised["advice"] = "start it without --cluster";
    json down = {{"name", "n\x1b[2J"},
                 {"state", "waiting"},
                 {"why", "nobody listens"},
                 {"round_trip_us", 0},
                 {"goodput_bytes_s", 0}};
    json up = {{"name", "n2"},
               {"state", "up"},
               {"why", ""},
               {"round_trip_us", 250},
               {"goodput_bytes_s", 110'000'000}};
    json nodes = {{{"name", "n1"}, {"up", true}, {"draining", false}, {"holds", 40}},
                  {{"name", "n2"}, {"up", true}, {"draining", true}, {"holds", 32}}};
    json placement = {{{"model", "demo"}, {"experts", 72}, {"uncovered", 3}, {"nodes", nodes}}};
    d["cluster"] = {
        {"name", "n1"},        {"key", key_of('1')},     {"nodes", 3},          {"up", 2},
        {"links", {up, down}}, {"placement", placement}, {"network", {advised}}};
    return d;
  }
  void reply(client_ref who, uint64_t id, const json& document) {
    server_->send(who, id, document_reply{document.dump()});
  }

  std::mutex mutex_;
  std::vector<std::string> done_;
  int alone_ = 2;
  std::unique_ptr<app_server> server_;
};

struct fixture {
  coel::test::outcome coel(const std::string& arguments) {
    return coel::test::run_coel(folder.path(), arguments);
  }
  coel::test::outcome inspect(const std::string& arguments) {
    return coel::test::run_program("coel-inspect", folder.path(), arguments);
  }

  scratch_folder folder;
  clustered_node node{folder};
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(cluster_cli, fixture)

BOOST_AUTO_TEST_CASE(status_tells_of_the_cluster) {
  auto ran = coel("status");
  BOOST_TEST(ran.exit == 0);
  for (const char* part :
       {"cluster: n1 is one of 3 nodes, 2 up; key 1111", "waiting", "  nobody listens\n", "110.0",
        "demo: 72 experts, n1 holds 40, n2 holds 32 (draining); nobody holds 3\n",
        "demo: 5000 us a token, 25 % of it waiting for neighbours, 3.5 rounds, 20.0 KiB\n",
        "advice: start it without --cluster\n", "requests 1, "})
    BOOST_TEST(has(ran.out, part), part << " in\n" << ran.out);
  BOOST_TEST(!has(ran.out, "\x1b")); // of a neighbour's name
}

BOOST_AUTO_TEST_CASE(drain_says_what_is_left_to_do_and_can_wait) {
  auto ran = coel("drain n2");
  BOOST_TEST(ran.exit == 0);
  BOOST_TEST(ran.out == "n2, " + key_of('2') + ": write it down\n");
  auto waited = coel("drain --wait n2");
  BOOST_TEST(waited.exit == 0);
  BOOST_TEST(has(waited.out, "2 experts are not held by others yet\n1 expert is not held by others "
                             "yet\nit can be stopped now\n"),
             waited.out);
  BOOST_TEST(has(coel("drain").out, "n1, "));
  BOOST_TEST((node.done() == std::vector<std::string>{"drain n2", "drain n2", "drain "}));
}

BOOST_AUTO_TEST_CASE(plan_tells_what_the_node_follows_and_why) {
  auto ran = coel("plan");
  BOOST_TEST(ran.exit == 0, ran.err);
  for (const char* part : {"plan 4, by n1", "> layers", "  random", "layers answers soonest",
                           "planned for 2 nodes", "of this node's 90.0 MB", "promised 40.0 MB"})
    BOOST_TEST(has(ran.out, part), part << " in\n" << ran.out);
  BOOST_TEST(!has(ran.out, "\x1b"));
  auto raw = json::parse(coel("plan --json").out);
  BOOST_TEST(raw[0]["plan"]["epoch"] == 4);
  BOOST_TEST(has(coel("plan --model other").out, "no such model"));
}

BOOST_AUTO_TEST_CASE(expel_needs_a_name) {
  BOOST_TEST(coel("expel").exit == 2);
  BOOST_TEST(coel("expel n2").exit == 0);
  auto wrong = coel("expel n9");
  BOOST_TEST(wrong.exit == 1);
  BOOST_TEST(has(wrong.err, "there are: n1, n2"), wrong.err);
  BOOST_TEST((node.done() == std::vector<std::string>{"expel n2"}));
}

BOOST_AUTO_TEST_CASE(the_inspector_shows_it_and_acts) {
  auto ran = inspect("-e nodes -e links -e placement -e 'drain n2' -e status");
  BOOST_TEST(ran.exit == 0, ran.err);
  for (const char* part :
       {"IT ALONE", "VARIES us", "layer n1   n2", "n2, 2222", "is one of 3 nodes,"})
    BOOST_TEST(has(ran.out, part), part << " in\n" << ran.out);
  BOOST_TEST(inspect("-e 'placement other'").exit == 1);
  BOOST_TEST(inspect("-e drain").exit == 2); // nothing is asked
  auto raw = json::parse(inspect("--json -e links").out);
  BOOST_TEST(raw["links"].size() == 2u);
  BOOST_TEST((node.done() == std::vector<std::string>{"drain n2"}));
}

BOOST_AUTO_TEST_SUITE_END()
