// What a node tells of its cluster, and nodes that are drained or expelled by a question to one of
// them, as `coel` and `coel-inspect` ask it.
#include "net/app_client.hpp"
#include "tests/cluster/answers.hpp"
#include "tests/cluster/test_cluster.hpp"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

using namespace coel;
using namespace coel::testing;
using nlohmann::json;

namespace {

node_options with_room(double share) {
  node_options how;
  how.share = share;
  return how;
}

struct watched : test_cluster {
  watched(size_t nodes, double share) : test_cluster(nodes, with_room(share)) {
    for (size_t i = 0; i < nodes; ++i) {
      auto made = net::app_client::connect({node(i).endpoints().front(), {}, {}});
      BOOST_REQUIRE(made.ok());
      apps_.push_back(std::move(*made));
    }
    settle();
  }

  result<json> ask(size_t i, const inspect_request& question) {
    auto reply = apps_[i].ask(question, std::chrono::seconds(20));
    if (!reply)
      return reply.err();
    return json::parse(std::get<document_reply>(*reply).json);
  }
  json cluster(size_t i) {
    auto got = ask(i, {"cluster", "", 0, 1, ""});
    BOOST_REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : got.err().message));
    return *got;
  }
  result<json> act(size_t i, const char* what, const std::string& who) {
    return ask(i, {what, "", 0, 0, who});
  }

  /// Of node i's documents; null where there is none of that name.
  json placed(size_t i, const std::string& name) {
    return entry(cluster(i).at("placement").at(0).at("nodes"), name);
  }
  json link(size_t i, const std::string& name) { return entry(cluster(i).at("links"), name); }

  uint64_t request_of(size_t i, const std::string& text, uint32_t tokens) {
    generate_request r;
    r.prompt = text;
    r.max_tokens = tokens;
    r.ignore_end = true;
    r.stream = false;
    auto reply = apps_[i].ask(r, std::chrono::seconds(60));
    BOOST_REQUIRE_MESSAGE(reply.ok(), (reply.ok() ? "" : reply.err().message));
    return std::get<done_reply>(*reply).request;
  }

 private:
  static json entry(const json& list, const std::string& name) {
    for (const auto& one : list)
      if (one.at("name") == name)
        return one;
    return {};
  }
  std::vector<net::app_client> apps_;
};

uint64_t counted(const json& map) {
  uint64_t n = 0;
  for (const auto& row : map) {
    auto text = row.get<std::string>();
    n += static_cast<uint64_t>(std::count(text.begin(), text.end(), '#'));
  }
  return n;
}

} // namespace

BOOST_AUTO_TEST_SUITE(seen)

BOOST_AUTO_TEST_CASE(every_node_tells_of_the_others_and_of_what_they_hold) {
  watched c(3, 0.5);
  auto request = c.request_of(0, "Once upon a time", 20);
  auto d = c.cluster(0);
  BOOST_TEST(d["node"]["name"] == "node0");
  BOOST_TEST(d["node"]["key"] == c.node(0).neighbours()->key());
  for (const char* name : {"node1", "node2"}) {
    auto l = c.link(0, name), p = c.placed(0, name);
    BOOST_TEST(l["state"] == "up");
    BOOST_TEST(l["why"] == "");
    BOOST_TEST(l["counts"]["dispatches"].get<uint64_t>() > 0u);
    BOOST_TEST(p["key"] == l["key"]);
    BOOST_TEST(p["holds"] == counted(p["map"]));
    BOOST_TEST(p["holds"].get<uint64_t>() > 0u);
  }
  auto n = d["network"][0];
  BOOST_TEST(n["tokens"].get<uint64_t>() >= 20u);
  BOOST_TEST(n["rounds_per_token"].get<double>() > 0);
  BOOST_TEST(n["bytes_per_token"].get<double>() > 0);
  BOOST_TEST(n["network_share"].get<double>() <= 1);
  auto status = *c.ask(1, {});
  BOOST_TEST(status["cluster"]["nodes"] == 3);
  BOOST_TEST(status["cluster"]["up"] == 3);
  auto trace = *c.ask(0, {"trace", "", request, 0, ""});
  uint64_t helped = 0;
  for (const auto& token : trace["tokens"])
    for (const auto& h : token["hops"])
      if (h.contains("node")) {
        ++helped;
        BOOST_TEST((h["node"] == "node1" || h["node"] == "node2"));
        BOOST_TEST(h["there_us"].get<uint64_t>() > 0u);
      }
  BOOST_TEST(helped > 0u);
  auto text = (*c.ask(0, {"metrics", "", 0, 0, ""}))["text"].get<std::string>();
  BOOST_TEST(text.find("coel_link_up{node=\"node1\"") != std::string::npos);
}

// Asked at node 0, node 1 drains: the others take its experts over while it still answers, then it
// is asked no more, and killing it costs nobody a repeat.
BOOST_AUTO_TEST_CASE(a_drained_node_can_be_stopped_without_a_loss) {
  watched c(3, 0.65);
  auto before = *c.logits(0, some_tokens(40));
  auto done = c.act(0, "drain", "node1");
  BOOST_REQUIRE_MESSAGE(done.ok(), (done.ok() ? "" : done.err().message));
  BOOST_TEST((*done)["key"] == c.node(1).neighbours()->key());
  BOOST_TEST(c.logits(0, some_tokens(40)).ok()); // on the way too
  test_cluster::wait_for(
      [&] { return "node1 to hold nothing alone: " + c.placed(0, "node1").dump(); },
      [&] {
        auto p = c.placed(0, "node1");
        return p["draining"] == true && p["alone"] == 0 &&
               c.cluster(0)["placement"][0]["uncovered"] == 0;
      });
  auto asked = [&] { return c.link(0, "node1")["counts"]["dispatches"].get<uint64_t>(); };
  test_cluster::wait_for([] { return "the table without node1"; },
                         [&] { // follows the record at the next tick
                           auto first = asked();
                           return c.logits(0, some_tokens(40)).ok() && asked() == first;
                         });
  c.kill(1);
  auto repeats = c.network(0).repeats;
  auto after = *c.logits(0, some_tokens(40));
  BOOST_TEST(c.network(0).repeats == repeats);
  BOOST_TEST(distance(after, before) < 0.02);
}

BOOST_AUTO_TEST_CASE(a_node_drains_itself_when_none_is_named) {
  watched c(2, 1);
  auto done = c.act(1, "drain", "");
  BOOST_REQUIRE(done.ok());
  BOOST_TEST((*done)["this"] == true);
  test_cluster::wait_for([] { return "node0 to hear that node1 drains"; },
                         [&] { return c.placed(0, "node1")["draining"] == true; });
  BOOST_TEST(c.placed(1, "node1")["draining"] == true);
  BOOST_TEST(c.placed(0, "node0")["draining"] == false);
  BOOST_TEST(c.placed(0, "node1")["home"] == false); // takes no new applications
}

BOOST_AUTO_TEST_CASE(an_expelled_node_is_gone_for_the_one_that_was_asked) {
  watched c(3, 1);
  auto key = c.node(2).neighbours()->key();
  auto done = c.act(0, "expel", "node2");
  BOOST_REQUIRE_MESSAGE(done.ok(), (done.ok() ? "" : done.err().message));
  BOOST_TEST((*done)["key"] == key);
  BOOST_TEST((*done)["then"].get<std::string>().find("cluster file of every machine") !=
             std::string::npos);
  test_cluster::wait_for(
      [&] { return "node2's link to node0 to fall: " + c.link(2, "node0").dump(); },
      [&] { return c.link(2, "node0")["state"] != "up"; });
  BOOST_TEST(c.link(2, "node1")["state"] == "up"); // the others were not asked
  BOOST_TEST(c.link(0, "node2").is_null());
  BOOST_TEST(c.placed(0, "node2").is_null());
  BOOST_TEST(c.logits(0, some_tokens(10)).ok());
  BOOST_TEST(c.act(0, "expel", key).ok()); // again, by key
}

BOOST_AUTO_TEST_CASE(what_cannot_be_done_is_refused_with_the_reason) {
  watched c(2, 1);
  auto why = [&](const result<json>& got) {
    BOOST_REQUIRE(!got.ok());
    return got.err().message;
  };
  BOOST_TEST(why(c.act(0, "drain", "node7")).find("there are: node0, node1") != std::string::npos);
  BOOST_TEST(why(c.act(0, "expel", "node0")).find("cannot expel itself") != std::string::npos);
  BOOST_TEST(why(c.act(0, "expel", "")).find("which node") != std::string::npos);
  c.kill(1);
  test_cluster::wait_for([] { return "node1 to be down"; },
                         [&] { return c.link(0, "node1")["state"] != "up"; });
  BOOST_TEST(why(c.act(0, "drain", "node1")).find("not connected") != std::string::npos);
  BOOST_TEST(!c.link(0, "node1")["why"].get<std::string>().empty());
}

BOOST_AUTO_TEST_SUITE_END()
