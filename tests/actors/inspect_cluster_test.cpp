// The inspector's documents about a cluster, from made-up values.
#include "actors/inspect_json.hpp"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>

using namespace coel;
using namespace coel::actors;
using nlohmann::json;

namespace {

constexpr node_id second{1}, third{2};

bitmap bits(const std::string& held) {
  bitmap out(held.size());
  for (size_t i = 0; i < held.size(); ++i)
    out.set(i, held[i] == '#');
  return out;
}

node_placement placed(node_id id, const std::string& name, const std::string& held,
                      uint64_t room = 8) {
  return {id, name, true, true, true, false, room, bits(held)};
}

placement_status some_placement() {
  return {"demo",
          2,
          4,
          7,
          1,
          5,
          6000,
          2,
          3,
          {placed(this_node, "n1", "##..#..."), placed(second, "n2", ".##....#"),
           placed(third, "n3", ".#.#.#..")}};
}

link_status link_to(node_id id, const std::string& name, const std::string& state) {
  link_status l;
  l.id = id;
  l.name = name;
  l.state = state;
  l.endpoint = "tcp://10.0.0." + std::to_string(index(id)) + ":7420";
  l.why = "an old reason";
  l.round_trip_us = 250;
  l.counts.dispatches = 12;
  return l;
}

const std::string key1(40, '1'), key2(40, '2'), key3(40, '3');

cluster_facts some_facts() {
  cluster_facts f;
  f.name = "n1";
  f.key = key1;
  f.endpoints = {"tcp://10.0.0.9:7420"};
  f.links = {link_to(second, "n2", "up"), link_to(third, "n3", "connecting"),
             link_to(node_id{0}, "", "waiting")};
  f.placement = {some_placement()};
  auto all = std::make_shared<std::vector<member>>();
  all->push_back({second, key2, "n2", "tcp://10.0.0.1:7420", {}, true, nullptr});
  all->push_back({third, key3, "n3", "tcp://10.0.0.2:7420", {}, false, nullptr});
  f.members = all;
  return f;
}

/// 100 rows in 100 steps of 1000 us, 600 of them for experts, 400 of those waiting.
network_totals some_totals(uint64_t alone_us) {
  network_totals t;
  t.steps = t.rows = 100;
  t.step_us = 100'000;
  t.experts_us = 60'000;
  t.waited_us = 40'000;
  t.alone_us = alone_us;
  t.rounds = 250;
  t.wire_bytes = 409'600;
  return t;
}

} // namespace

BOOST_AUTO_TEST_SUITE(inspect_cluster_json)

BOOST_AUTO_TEST_CASE(costs_are_by_token) {
  auto c = token_costs_of(some_totals(20'000));
  BOOST_TEST(c.rounds == 2.5);
  BOOST_TEST(c.bytes == 4096);
  BOOST_TEST(c.us == 1000);
  BOOST_TEST(c.network_share == 0.4);
  BOOST_TEST(c.alone_us.value() == 600); // 400 beside the experts, and 200 for them
  BOOST_TEST(!token_costs_of(some_totals(0)).alone_us.has_value());
  auto none = token_costs_of({});
  BOOST_TEST(none.us == 0);
  BOOST_TEST(none.network_share == 0);
}

BOOST_AUTO_TEST_CASE(advice_is_given_only_where_alone_is_faster) {
  auto p = some_placement();
  auto good = cluster_advice(some_totals(20'000), &p);
  BOOST_TEST(good.find("600 us a token") != std::string::npos, good);
  BOOST_TEST(good.find("instead of 1000 us") != std::string::npos, good);
  BOOST_TEST(good.ends_with("start it without --cluster"), good);
  p.nodes.front().room = 5;
  BOOST_TEST(cluster_advice(some_totals(20'000), &p).find("room for 5 of 8 experts only") !=
             std::string::npos);
  BOOST_TEST(cluster_advice(some_totals(20'000), nullptr).find("if its memory holds the model") !=
             std::string::npos);
  BOOST_TEST(cluster_advice(some_totals(59'000), &p).empty()); // by less than 5 %
  BOOST_TEST(cluster_advice(some_totals(90'000), &p).empty());
  BOOST_TEST(cluster_advice(some_totals(0), &p).empty()); // not known
  auto few = some_totals(20'000);
  few.steps = 5;
  BOOST_TEST(cluster_advice(few, &p).empty());
  auto no_neighbours = some_totals(20'000);
  no_neighbours.rounds = 0;
  BOOST_TEST(cluster_advice(no_neighbours, &p).empty());
}

BOOST_AUTO_TEST_CASE(what_a_node_alone_holds_decides_whether_it_may_stop) {
  auto p = some_placement();
  BOOST_TEST(held_alone(p, 0) == 2u);
  BOOST_TEST(held_alone(p, 1) == 2u);
  BOOST_TEST(held_alone(p, 2) == 2u);
  p.nodes[2].draining = true; // who goes does not count for others
  p.nodes[0].holds = bits("........");
  BOOST_TEST(held_alone(p, 1) == 3u);
  BOOST_TEST(held_alone(p, 2) == 2u);
}

BOOST_AUTO_TEST_CASE(the_document_has_everything_and_the_map_on_demand) {
  auto d = json::parse(cluster_json(some_facts(), 0));
  BOOST_TEST(d["node"]["key"] == key1);
  BOOST_TEST(d["links"].size() == 3u);
  BOOST_TEST(d["links"][0]["key"] == key2);
  BOOST_TEST(d["links"][0]["why"] == ""); // of the last time that it was down
  BOOST_TEST(d["links"][1]["why"] == "an old reason");
  BOOST_TEST(d["links"][2]["key"] == "");
  BOOST_TEST(d["links"][0]["counts"]["dispatches"] == 12);
  const auto& p = d["placement"][0];
  BOOST_TEST(p["replicas"] == json({1, 6, 0, 1}));
  BOOST_TEST(p["nodes"][0]["this"] == true);
  BOOST_TEST(p["nodes"][1]["key"] == key2);
  BOOST_TEST(p["nodes"][1]["holds"] == 3);
  BOOST_TEST(!p["nodes"][0].contains("map"));
  auto whole = json::parse(cluster_json(some_facts(), 1));
  BOOST_TEST(whole["placement"][0]["nodes"][1]["map"] == json({".##.", "...#"}));
}

BOOST_AUTO_TEST_CASE(the_plan_is_told_with_what_was_predicted_and_measured) {
  auto facts = some_facts();
  auto& planning = facts.placement[0].planning;
  auto before = json::parse(cluster_json(facts, 0))["placement"][0]["plan"];
  BOOST_TEST(before["epoch"] == 0);
  BOOST_TEST(!before.contains("predicted"));
  planning.plan = {3, key2, {"layers", 900, 5e5, 1.5, 2048}, "it is sooner", false, {}, {}, {}};
  planning.plan.options = {planning.plan.chosen, {"random", 1200, 8e5, 2, 4096}};
  planning.plan.shares = {{key1, bits("####....")}, {key2, bits("...#####")}};
  planning.planner = "n2";
  planning.names = {"n1", "n2"};
  planning.expert_bytes = 1000;
  planning.token_us = 950;
  planning.rounds = 1.4;
  planning.capacity_bytes = 8000;
  planning.promised = {{"n2", 5000}};
  facts.network = {{"demo", some_totals(0)}};
  facts.network[0].totals.decode_steps = 9;
  facts.network[0].totals.decode_us = 1010;
  auto d = json::parse(cluster_json(facts, 0));
  auto plan = d["placement"][0]["plan"];
  BOOST_TEST(plan["planner"] == "n2");
  BOOST_TEST(plan["chosen"]["name"] == "layers");
  BOOST_TEST(plan["options"].size() == 2u);
  BOOST_TEST(plan["nodes"][1]["name"] == "n2");
  BOOST_TEST(plan["nodes"][1]["bytes"] == 5000);
  BOOST_TEST(plan["memory"]["promised"][0]["bytes"] == 5000);
  BOOST_TEST(plan["predicted"]["us_per_token"] == 950);
  BOOST_TEST(d["network"][0]["decode_us"] == 1010);
  BOOST_TEST(d["network"][0]["predicted_us"] == 950);
  auto summary = cluster_summary(facts);
  BOOST_TEST(summary["placement"][0]["plan"]["name"] == "layers");
}

BOOST_AUTO_TEST_CASE(hello_is_told_or_why_not) {
  auto f = some_facts();
  f.hello_trouble = "udp port 698 is taken";
  BOOST_TEST(json::parse(cluster_json(f, 0))["hello"]["trouble"] == "udp port 698 is taken");
  f.hello_trouble.clear();
  auto& s = f.hello.emplace();
  s.received = 9;
  policy::neighbour_view n;
  n.address = 0x0a000007;
  n.status = policy::link_status::symmetric;
  n.free.compute = 80;
  s.neighbours = {n};
  auto h = json::parse(cluster_json(f, 0))["hello"];
  BOOST_TEST(h["received"] == 9);
  BOOST_TEST(h["heard"][0]["address"] == "10.0.0.7");
  BOOST_TEST(h["heard"][0]["link"] == "symmetric");
  BOOST_TEST(h["heard"][0]["compute_free"] == 80);
  BOOST_TEST(!h["heard"][0].contains("memory_free")); // not said
}

BOOST_AUTO_TEST_CASE(who_was_not_let_in_is_counted_by_reason) {
  auto f = some_facts();
  f.refused[static_cast<size_t>(net::refusal::not_member)] = 7;
  for (const auto& d : {json::parse(cluster_json(f, 0)), cluster_summary(f)}) {
    BOOST_TEST(d["refused"]["not-member"] == 7);
    BOOST_TEST(d["refused"]["crowded"] == 0);
  }
  BOOST_TEST(cluster_metrics(f).find("coel_refused_peers_total{why=\"not-member\"} 7\n") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(network_is_told_with_its_advice) {
  auto f = some_facts();
  f.network = {{"demo", some_totals(20'000)}, {"other", {}}};
  auto n = json::parse(cluster_json(f, 0))["network"];
  BOOST_TEST(n[0]["alone_us_per_token"] == 600.0);
  BOOST_TEST(n[0]["advice"].get<std::string>().find("without --cluster") != std::string::npos);
  BOOST_TEST(n[1]["tokens"] == 0);
  BOOST_TEST(!n[1].contains("advice"));
  BOOST_TEST(!n[1].contains("alone_us_per_token"));
}

BOOST_AUTO_TEST_CASE(status_of_a_lone_node_has_no_cluster) {
  auto alone = json::parse(status_json({}, {}, {}, nullptr));
  BOOST_TEST(!alone.contains("cluster"));
  auto f = some_facts();
  auto c = json::parse(status_json({}, {}, {}, &f))["cluster"];
  BOOST_TEST(c["nodes"] == 3); // the peer that never answered is none
  BOOST_TEST(c["up"] == 2);
  BOOST_TEST(c["links"][2]["name"] == "tcp://10.0.0.0:7420");
  BOOST_TEST(c["placement"][0]["nodes"][0]["holds"] == 3);
}

/// A configured peer is tried for ever: "waiting" would say that it is about to come.
BOOST_AUTO_TEST_CASE(a_peer_that_was_never_reached_is_unreachable_with_its_last_error) {
  auto f = some_facts();
  f.links = {link_to(node_id{0}, "", "waiting"),    link_to(node_id{0}, "", "connecting"),
             link_to(node_id{0}, "", "greeting"),   link_to(node_id{0}, "", "refused"),
             link_to(node_id{0}, "", "connecting"), link_to(third, "n3", "waiting")};
  f.links[4].why.clear(); // the first attempt runs
  std::vector<std::string> wanted{"unreachable", "unreachable", "unreachable",
                                  "refused",     "connecting",  "waiting"};
  auto whole = json::parse(cluster_json(f, 0))["links"];
  auto summary = json::parse(status_json({}, {}, {}, &f))["cluster"]["links"];
  for (const auto& links : {whole, summary}) {
    std::vector<std::string> states;
    for (const auto& l : links)
      states.push_back(l["state"].get<std::string>());
    BOOST_TEST(states == wanted, boost::test_tools::per_element());
    BOOST_TEST(links[0]["why"] == "an old reason");
  }
}

BOOST_AUTO_TEST_CASE(roles_of_nodes_are_told) {
  auto f = some_facts();
  auto& nodes = f.placement[0].nodes;
  nodes[1].home = false;
  nodes[1].helper = true;
  nodes[2].home = false; // has nothing of the model, or drains
  auto whole = json::parse(cluster_json(f, 0))["placement"][0]["nodes"];
  auto summary = json::parse(status_json({}, {}, {}, &f))["cluster"]["placement"][0]["nodes"];
  for (const auto& all : {whole, summary}) {
    BOOST_TEST(all[0]["role"] == "home");
    BOOST_TEST(all[1]["role"] == "helper");
    BOOST_TEST(all[2]["role"] == "");
  }
}

BOOST_AUTO_TEST_CASE(metrics_are_prometheus_text) {
  auto f = some_facts();
  f.links[0].name = "quo\"te";
  f.network = {{"demo", some_totals(20'000)}};
  auto text = json::parse(metrics_json({}, {}, {}, &f))["text"].get<std::string>();
  for (const char* line :
       {"coel_link_up{node=\"quo\\\"te\",endpoint=\"tcp://10.0.0.1:7420\"} 1\n",
        "coel_link_up{node=\"n3\",endpoint=\"tcp://10.0.0.2:7420\"} 0\n",
        "coel_link_round_trip_seconds{node=\"n3\",endpoint=\"tcp://10.0.0.2:7420\"} 0.00025\n",
        "coel_experts_uncovered{model=\"demo\"} 1\n",
        "coel_experts_held{model=\"demo\",node=\"n1\"} 3\n",
        "coel_experts_held_alone{model=\"demo\",node=\"n2\"} 2\n",
        "coel_network_wait_seconds_total{model=\"demo\"} 0.04\n",
        "# TYPE coel_network_bytes_total counter\n"})
    BOOST_TEST(text.find(line) != std::string::npos, line << " in\n" << text);
  BOOST_TEST(json::parse(metrics_json({}, {}, {}, nullptr))["text"].get<std::string>().find(
                 "coel_link") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_node_is_found_by_name_or_key) {
  auto f = some_facts();
  BOOST_TEST(find_node(f, "")->self);
  BOOST_TEST(find_node(f, "n1")->self);
  BOOST_TEST(find_node(f, key1)->self);
  BOOST_TEST(find_node(f, "n3")->key == key3);
  BOOST_TEST(find_node(f, key2)->name == "n2");
  auto unknown = find_node(f, "n4");
  BOOST_TEST((unknown.err().code == ec::bad_argument));
  BOOST_TEST(unknown.err().message.find("n1, n2, n3") != std::string::npos, unknown.err().message);
}

BOOST_AUTO_TEST_CASE(two_of_a_name_must_be_told_by_key) {
  auto f = some_facts();
  auto all = *f.members;
  all.push_back(all[0]); // a second link to n2 for a moment is no second node
  all.back().up = false;
  f.members = std::make_shared<const std::vector<member>>(all);
  BOOST_TEST(find_node(f, "n2")->key == key2);
  all[1].name = "n2";
  f.members = std::make_shared<const std::vector<member>>(all);
  auto both = find_node(f, "n2");
  BOOST_REQUIRE(!both.ok());
  BOOST_TEST(both.err().message.find(key2) != std::string::npos);
  BOOST_TEST(both.err().message.find(key3) != std::string::npos);
  BOOST_TEST(find_node(f, key3)->name == "n2");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(inspect_hops)

namespace {

hop here(std::string_view actor, uint16_t layer, uint32_t at, uint32_t took) {
  return {actor, layer, at, took, this_node, 0};
}
hop there(node_id node, uint16_t layer, uint32_t at, uint32_t took, uint32_t of_it) {
  return {"link", layer, at, took, node, of_it};
}

std::string text_of(const std::vector<placed_hop>& placed) {
  std::string out;
  for (const auto& h : placed)
    out += h.actor + "." + h.work + "@" + std::to_string(h.at_us) + "+" +
           std::to_string(h.took_us) + " ";
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(without_neighbours_the_rest_is_the_scheduler_s) {
  token_trace t{0,
                100,
                {here("attention", 0, 5, 20), here("gate", 0, 50, 10), here("experts", 0, 40, 20),
                 here("head", 0, 65, 10)}};
  BOOST_TEST(text_of(place_hops(t)) ==
             "scheduler.plan@0+5 device.attention@5+20 scheduler.plan@25+5 gate.dispatch@30+10 "
             "experts.run@40+20 scheduler.plan@60+5 device.head@65+10 session.draw@75+25 ");
}

BOOST_AUTO_TEST_CASE(neighbours_run_beside_the_experts_and_are_waited_for) {
  // the scheduler notes gate and experts when the last sum is there, at 120
  token_trace t{0,
                150,
                {here("attention", 0, 0, 20), here("gate", 0, 110, 10), here("experts", 0, 90, 30),
                 there(second, 0, 25, 60, 50), there(third, 0, 26, 90, 20),
                 here("attention", 1, 120, 10), here("head", 0, 130, 10)}};
  auto placed = place_hops(t);
  BOOST_TEST(
      text_of(placed) ==
      "device.attention@0+20 gate.dispatch@20+10 experts.run@30+30 link.sum@25+60 link.sum@26+90 "
      "link.wait@60+56 scheduler.plan@116+4 device.attention@120+10 device.head@130+10 "
      "session.draw@140+10 ");
  BOOST_TEST((placed[4].node == third));
  BOOST_TEST(placed[4].there_us == 20u);
  BOOST_TEST(placed[5].layer.value() == 0u);
}

BOOST_AUTO_TEST_CASE(this_node_s_hops_never_overlap_whatever_was_noted) {
  uint32_t seed = 12345;
  auto random = [&](uint32_t below) { return (seed = seed * 1664525 + 1013904223) / 7 % below; };
  for (int round = 0; round < 500; ++round) {
    token_trace t{0, random(400), {}};
    for (uint16_t l = 0; l < 3; ++l) {
      t.hops.push_back(here("attention", l, random(300), random(40)));
      t.hops.push_back(here("gate", l, random(300), random(40)));
      t.hops.push_back(here("experts", l, random(300), random(40)));
      for (uint32_t n = random(3); n > 0; --n)
        t.hops.push_back(there(second, l, random(300), random(200), random(100)));
    }
    uint64_t now = 0, beside = 0;
    for (const auto& h : place_hops(t)) {
      if (h.node != this_node) {
        ++beside;
        continue;
      }
      BOOST_TEST_REQUIRE(h.at_us == now); // no gap either
      now += h.took_us;
    }
    BOOST_TEST_REQUIRE(now >= t.total_us);
    BOOST_TEST_REQUIRE(beside == static_cast<uint64_t>(
                                     std::count_if(t.hops.begin(), t.hops.end(), [](const hop& h) {
                                       return h.actor == "link";
                                     })));
  }
}

BOOST_AUTO_TEST_CASE(a_trace_names_the_neighbours) {
  request_trace r;
  r.tokens = {{3,
               100,
               {here("gate", 0, 0, 5), here("experts", 0, 5, 5), there(second, 0, 1, 50, 30),
                there(third, 0, 1, 20, 3)}}};
  r.nodes = {{second, "n2"}};
  auto hops = json::parse(trace_json(r))["tokens"][0]["hops"];
  std::vector<std::string> names;
  for (const auto& h : hops)
    if (h.contains("node"))
      names.push_back(h["node"].get<std::string>() + " " +
                      std::to_string(h["there_us"].get<int>()));
  BOOST_TEST((names == std::vector<std::string>{"n2 30", "node 2 3"})); // the other has left
}

BOOST_AUTO_TEST_SUITE_END()
