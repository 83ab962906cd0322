// Nodes without a model fetch the one that their cluster has, and answer as those that had it.
#include "net/app_client.hpp"
#include "tests/cluster/test_cluster.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

using namespace coel;
using namespace coel::testing;
using namespace std::chrono_literals;

namespace {

/// All nodes from `first` on have no model and fetch into a folder of their own.
node_options joining_from(size_t first) {
  node_options options;
  options.start_all = false;
  options.adjust = [first](size_t i, actors::node_config& c) {
    c.ram_bytes = uint64_t{1} << 30; // whatever the machine has free at the moment
    c.join.folder = c.cluster->file.parent_path() / ("models" + std::to_string(i));
    if (i >= first)
      c.models.clear();
  };
  return options;
}

void wait_until_hosted(test_cluster& all, size_t i) {
  test_cluster::wait_for([i] { return "node " + std::to_string(i) + " to host the model"; },
                         [&] { return all.node(i).models()->size() == 1; });
}

actors::fetch_status fetched(test_cluster& all, size_t i) {
  caf::scoped_actor self{all.system(i)};
  actors::fetch_status out;
  self->request(all.node(i).joiner(), 5s, actors::atom::details::value)
      .receive(
          [&](std::vector<actors::fetch_status>& many) {
            if (!many.empty())
              out = many.front();
          },
          [](caf::error&) {});
  return out;
}

uint64_t bytes_from(const actors::fetch_status& s, const std::string& name) {
  for (const auto& p : s.peers)
    if (p.name == name)
      return p.bytes;
  return 0;
}

struct said {
  std::string text, failure;
};

/// As an app asks.
said greedy(test_cluster& all, size_t i, const std::string& prompt, uint32_t tokens) {
  auto app = net::app_client::connect({all.node(i).endpoints().front(), {}, {}});
  BOOST_REQUIRE(app.ok());
  generate_request r;
  r.prompt = prompt;
  r.max_tokens = tokens;
  r.ignore_end = true;
  r.sampling.temperature = 0;
  BOOST_REQUIRE(app->send(r).ok());
  said out;
  for (;;) {
    auto got = app->poll(20s);
    BOOST_REQUIRE(got.ok());
    BOOST_REQUIRE_MESSAGE(got->has_value(), "no reply in 20 s");
    if (auto* token = std::get_if<token_reply>(&(*got)->reply))
      out.text += token->text;
    else if (auto* failure = std::get_if<error>(&(*got)->reply))
      return out.failure = failure->message, out;
    else if (std::holds_alternative<done_reply>((*got)->reply))
      return out;
  }
}

const std::string story = "Once upon a time, there was a little girl named Lily. She";

void check_same_answer(test_cluster& all, size_t a, size_t b) {
  auto first = greedy(all, a, story, 24), second = greedy(all, b, story, 24);
  BOOST_TEST(first.failure == "");
  BOOST_TEST(second.failure == "");
  BOOST_TEST(first.text.size() > 0u);
  BOOST_TEST(first.text == second.text);
}

uint64_t model_bytes() {
  return std::filesystem::file_size(demo_model);
}

/// Every byte in the middle of each KiB.
void damage(const std::filesystem::path& file) {
  std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
  for (uint64_t at = 512; at < std::filesystem::file_size(file); at += 1024) {
    f.seekg(static_cast<std::streamoff>(at));
    auto byte = static_cast<char>(f.get() ^ 1);
    f.seekp(static_cast<std::streamoff>(at));
    f.put(byte);
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(joining)

BOOST_AUTO_TEST_CASE(a_node_without_a_model_comes_to_answer_as_the_one_that_has_it) {
  test_cluster all(2, joining_from(1));
  all.start(1);
  BOOST_TEST(greedy(all, 1, story, 1).failure == "no model is served here");
  all.start(0);
  wait_until_hosted(all, 1);
  all.settle();
  check_same_answer(all, 0, 1);
  auto s = fetched(all, 1);
  BOOST_TEST(s.opened);
  BOOST_TEST(s.done_bytes == s.of_bytes);
  BOOST_TEST(bytes_from(s, "node0") == s.done_bytes);
}

BOOST_AUTO_TEST_CASE(two_neighbours_are_asked_at_once) {
  test_cluster all(3, joining_from(2));
  all.start(0);
  all.start(1);
  all.settle();
  all.start(2);
  wait_until_hosted(all, 2);
  all.settle();
  auto s = fetched(all, 2);
  BOOST_TEST(bytes_from(s, "node0") > 0u);
  BOOST_TEST(bytes_from(s, "node1") > 0u);
  BOOST_TEST(bytes_from(s, "node0") + bytes_from(s, "node1") <= model_bytes()); // nothing twice
  check_same_answer(all, 0, 2);
}

BOOST_AUTO_TEST_CASE(what_was_fetched_is_lent_to_the_next) {
  test_cluster all(3, joining_from(1));
  all.start(0);
  all.start(1);
  wait_until_hosted(all, 1);
  all.settle();
  all.kill(0);
  all.start(2);
  wait_until_hosted(all, 2);
  test_cluster::wait_for([] { return "node 2 to hold experts"; },
                         [&] {
                           auto p = all.placement(2);
                           return !p.nodes.empty() && p.nodes.front().holds.count() > 0;
                         });
  BOOST_TEST(bytes_from(fetched(all, 2), "node1") > 0u);
  BOOST_TEST(bytes_from(fetched(all, 2), "node0") == 0u);
  check_same_answer(all, 1, 2);
}

BOOST_AUTO_TEST_CASE(the_next_start_asks_nobody) {
  test_cluster all(2, joining_from(1));
  all.start(0);
  all.start(1);
  wait_until_hosted(all, 1);
  test_cluster::wait_for([] { return "all of the model to be here"; },
                         [&] { return fetched(all, 1).done_bytes == model_bytes(); });
  all.settle();
  auto before = greedy(all, 0, story, 24);
  all.kill(0);
  all.kill(1);
  all.start(1);
  wait_until_hosted(all, 1);
  all.settle();
  BOOST_TEST(greedy(all, 1, story, 24).text == before.text);
  BOOST_TEST(fetched(all, 1).done_bytes == 0u);
}

BOOST_AUTO_TEST_CASE(a_neighbour_whose_disk_lies_is_found_out) {
  auto options = joining_from(2);
  auto usual = options.adjust;
  options.adjust = [&](size_t i, actors::node_config& c) {
    usual(i, c);
    auto copy = c.cluster->file.parent_path() / "copy.gguf";
    if (i != 0)
      return;
    std::filesystem::copy_file(demo_model, copy, std::filesystem::copy_options::overwrite_existing);
    c.models = {{copy, "tiny"}};
  };
  test_cluster all(3, options);
  all.start(0);
  all.start(1);
  all.settle();
  damage(all.folder() / "copy.gguf"); // its weights are in memory already
  all.start(2);
  wait_until_hosted(all, 2);
  all.settle();
  auto s = fetched(all, 2);
  for (const auto& p : s.peers)
    BOOST_TEST((p.wrong > 0) == (p.name == "node0"), p.name);
  BOOST_TEST(bytes_from(s, "node0") == 0u);
  check_same_answer(all, 1, 2);
}

BOOST_AUTO_TEST_CASE(only_the_models_that_are_named_are_joined) {
  auto options = joining_from(1);
  auto usual = options.adjust;
  options.adjust = [&](size_t i, actors::node_config& c) {
    usual(i, c);
    c.join.names = {"another"};
  };
  test_cluster all(2, options);
  all.start(0);
  all.start(1);
  test_cluster::wait_for([] { return "node 0 to know node 1"; },
                         [&] {
                           auto p = all.placement(0);
                           return p.nodes.size() == 2 && p.nodes[1].up;
                         });
  std::this_thread::sleep_for(1500ms); // three looks at what neighbours announce
  BOOST_TEST(all.node(1).models()->empty());
  BOOST_TEST(!std::filesystem::exists(all.folder() / "models1"));
}

BOOST_AUTO_TEST_SUITE_END()
