// Applications that ask a helper are told whom to ask.
#include "actors/helper_refusal.hpp"

#include <boost/test/unit_test.hpp>

using namespace coel;
using namespace coel::actors;

namespace {

const hash256 wanted = [] {
  hash256 h{};
  h.fill(std::byte{7});
  return h;
}();

member node(const std::string& name, const std::string& address, bool home,
            std::vector<std::string> endpoints) {
  auto record = std::make_shared<node_record>();
  record->app_endpoints = std::move(endpoints);
  model_record m;
  m.hash = wanted;
  m.home = home;
  record->models = {m};
  return {node_id{1}, "key", name, "tcp://" + address + ":7420", {}, true, record};
}

std::string said(const std::vector<member>& members) {
  auto why = helper_refusal("tiny", wanted, "no room for KV", members);
  BOOST_TEST(to_string(why.code) == "helper_only");
  return why.message;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(helper_refusal_)

BOOST_AUTO_TEST_CASE(nodes_that_answer_are_named_with_their_endpoints) {
  BOOST_TEST(said({node("attic", "10.0.0.7", true, {"tcp://10.0.0.7:5460"}),
                   node("cellar", "10.0.0.8", false, {"tcp://10.0.0.8:5460"}),
                   node("shed", "10.0.0.9", true, {"ipc:///run/n.sock", "tcp://*:5460"})}) ==
             "this node only helps others to run 'tiny': ask attic (tcp://10.0.0.7:5460), shed "
             "(ipc:///run/n.sock, tcp://10.0.0.9:5460)");
}

BOOST_AUTO_TEST_CASE(an_endpoint_on_every_address_is_told_by_the_link_s) {
  for (const char* any : {"tcp://*:5460", "tcp://0.0.0.0:5460", "tcp://[::]:5460"})
    BOOST_TEST(has(said({node("attic", "10.0.0.7", true, {any})}), "(tcp://10.0.0.7:5460)"), any);
}

BOOST_AUTO_TEST_CASE(a_node_without_name_or_endpoints_is_told_by_its_address) {
  BOOST_TEST(said({node("", "10.0.0.7", true, {})}).ends_with(": ask 10.0.0.7"));
}

BOOST_AUTO_TEST_CASE(who_cannot_answer_now_is_not_named) {
  auto down = node("a", "10.0.0.1", true, {});
  down.up = false;
  auto silent = node("b", "10.0.0.2", true, {});
  silent.record = nullptr;
  auto draining = node("c", "10.0.0.3", true, {});
  auto record = std::make_shared<node_record>(*draining.record);
  record->draining = true;
  draining.record = record;
  auto other = node("d", "10.0.0.4", true, {});
  record = std::make_shared<node_record>(*other.record);
  record->models[0].hash = {};
  other.record = record;
  auto text = said({down, silent, draining, other, node("e", "10.0.0.5", false, {})});
  BOOST_TEST(has(text, "no linked node answers"), text);
  BOOST_TEST(has(text, "(no room for KV)"), text);
}

BOOST_AUTO_TEST_CASE(of_many_nodes_some_are_named) {
  std::vector<member> many;
  for (int i = 10; i < 30; ++i)
    many.push_back(node(std::string("n") + std::to_string(i), "10.0.0.1", true, {}));
  auto text = said(many);
  BOOST_TEST(has(text, "n10"));
  BOOST_TEST(!has(text, "n29"));
}

BOOST_AUTO_TEST_SUITE_END()
