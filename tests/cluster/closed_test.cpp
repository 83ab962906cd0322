// Who has no right to be here gets nothing, learns nothing and disturbs nobody: strangers, floods,
// and neighbours that lend wrong bytes.
#include "tests/apps/processes.hpp"
#include "tests/cluster/closed_support.hpp"
#include "tests/cluster/fake_member.hpp"
#include "tests/cluster/forger.hpp"
#include "tests/net/link_nodes.hpp"
#include "tests/net/raw_peer.hpp"

#include <fstream>
#include <list>

using namespace coel;
using namespace coel::testing;
using namespace std::chrono_literals;
using net::test::link_client;
using net::test::raw_peer;
using sender_event = net::link_sender::event;

namespace {

std::string plain_greeting() {
  std::string greeting("\xFF\0\0\0\0\0\0\0\x01\x7F\x03\x01NULL", 16);
  greeting.resize(64, '\0');
  return greeting;
}

size_t lines_of(const std::string& log, const std::string& sought) {
  size_t n = 0;
  for (auto at = log.find(sought); at != std::string::npos; at = log.find(sought, at + 1))
    ++n;
  return n;
}

/// coel-node in a cluster of which `member` is one and `expelled` is not.
struct lone_process {
  lone_process() {
    file = *net::make_cluster("home");
    file.members = {member.public_key};
    file.expelled = {expelled.public_key};
    file.link_port = static_cast<uint16_t>(20000 + getpid() % 20000);
    BOOST_REQUIRE(net::write_cluster_file(folder.path() / "cluster.toml", file).ok());
    auto path = [&](const char* name) { return (folder.path() / name).string(); };
    node.emplace(folder.path(), "coel-node",
                 std::vector<std::string>{"--model", demo_model.string(), "--endpoint",
                                          folder.ipc(), "--threads", "1", "--cluster",
                                          path("cluster.toml"), "--state", path("state"),
                                          "--listen", "127.0.0.1", "--hello-port", "0"});
    test_cluster::wait_for([&] { return "the node to start: " + node->errors(); },
                           [&] { return lines_of(node->errors(), "event=ready") > 0; });
  }
  std::string link() const { return "tcp://127.0.0.1:" + std::to_string(file.link_port); }

  net::test::scratch_folder folder;
  net::cluster_file file;
  net::key_pair member = *net::generate_keys(), expelled = *net::generate_keys();
  std::optional<test::process> node;
};

/// Connects and says what it is told to.
class tcp_client {
 public:
  tcp_client(const std::string& address, uint16_t port)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(ipv4(address));
    (void)!::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  }
  ~tcp_client() { ::close(fd_); }
  tcp_client(const tcp_client&) = delete;
  tcp_client& operator=(const tcp_client&) = delete;

  void write(const std::string& bytes) {
    (void)!::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }

 private:
  int fd_;
};

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

} // namespace

BOOST_AUTO_TEST_SUITE(closed)

BOOST_AUTO_TEST_CASE(strangers_are_refused_and_said_once_a_minute) {
  auto began = std::chrono::steady_clock::now();
  lone_process p;
  application app(p.folder.ipc());
  auto before = app.greedy(story, 16);
  BOOST_TEST(before.failure == "");
  auto another = *net::make_cluster("home");
  for (int i = 0; i < 12; ++i) {
    raw_peer in_the_clear(p.link()), nonsense(p.link());
    in_the_clear.write(plain_greeting());
    nonsense.write(std::string(200, 'x'));
    BOOST_TEST(in_the_clear.closed_by_peer());
    link_client wrong_cluster(p.link(), p.member, another.keys.public_key);
    link_client stranger(p.link(), *net::generate_keys(), p.file.keys.public_key);
    link_client gone(p.link(), p.expelled, p.file.keys.public_key);
    for (auto* one : {&wrong_cluster, &stranger, &gone}) {
      BOOST_TEST(one->wait_for(sender_event::refused).has_value());
      auto frame = net::encode(net::goodbye_frame{"let me in"});
      BOOST_TEST((one->sender().send(frame) == net::link_sender::outcome::full));
    }
    if (i % 4 == 0)
      BOOST_TEST(app.greedy(story, 16).text == before.text);
  }
  auto log = p.node->errors();
  auto minutes = std::chrono::ceil<std::chrono::minutes>(std::chrono::steady_clock::now() - began);
  for (const char* why : {"no-key", "not-member", "expelled"}) {
    auto said = lines_of(log, "event=refused-peer why=" + std::string(why) + " ");
    BOOST_TEST(said >= 1u, why);
    BOOST_TEST(said <= static_cast<size_t>(minutes.count()), why << "\n" << log);
  }
  for (auto counted = app.cluster()["refused"];
       const char* why : {"no-key", "not-member", "expelled"})
    BOOST_TEST(counted[why].get<uint64_t>() + counted["too-often"].get<uint64_t>() >= 12u, counted);
  std::optional<link_client> member;
  test_cluster::wait_for(
      [] { return "the member to be let in, when the flood's pace is forgotten"; },
      [&] {
        if (!member)
          member.emplace(p.link(), p.member, p.file.keys.public_key);
        for (const auto& news : member->sender().take_news())
          if (news.what == sender_event::connected)
            return true;
          else if (news.what == sender_event::refused) {
            member.reset(); // for its pace: it tries again, as links do
            std::this_thread::sleep_for(500ms);
            break;
          }
        return false;
      });
}

// Garbage to the port of HELLOs, connections that say nothing or nonsense, handshakes with the
// right and with the wrong key, and frames of a member, all at once.
BOOST_AUTO_TEST_CASE(a_flood_does_not_change_an_answer) {
  test_cluster all(2, with_share(0.6));
  all.settle();
  auto net = network_of(all), node = net + "1", link = "tcp://" + node + ":7420";
  auto file = file_of(all);
  application app(all.node(0).endpoints().front());
  auto before = app.greedy(story, 24);
  BOOST_TEST(before.failure == "");

  std::atomic<bool> stopping{false};
  auto repeatedly = [&](auto what) {
    return std::thread([&stopping, what] {
      while (!stopping) {
        what();
        std::this_thread::sleep_for(1ms);
      }
    });
  };
  member_options o;
  o.listen = net + "100";
  o.node = node;
  fake_member mad(file, o, [](auto&, auto, auto&) {});
  test_cluster::wait_for([] { return "the member to be linked"; }, [&] { return mad.up(); });
  forger mallory;
  std::vector<std::thread> floods;
  floods.push_back(repeatedly([&, random = std::make_shared<std::mt19937>(1)] {
    for (int i = 0; i < 50; ++i) {
      std::vector<uint8_t> garbage((*random)() % 1400);
      for (auto& b : garbage)
        b = static_cast<uint8_t>((*random)());
      mallory.say(net + std::to_string(2 + i), node, garbage);
    }
  }));
  floods.push_back(repeatedly([&, held = std::make_shared<std::list<tcp_client>>()] {
    held->emplace_back(node, 7420);
    if (held->size() % 2)
      held->back().write(std::string(500, 'x'));
    if (held->size() > 150)
      held->pop_front();
  }));
  floods.push_back(repeatedly([&, other = *net::make_cluster("home")] {
    link_client wrong(link, *net::generate_keys(), other.keys.public_key);
    std::this_thread::sleep_for(20ms);
  }));
  floods.push_back(repeatedly([&] {
    link_client silent(link, *net::generate_keys(), file.keys.public_key);
    std::this_thread::sleep_for(20ms);
  }));
  floods.push_back(repeatedly([&] {
    mad.send(net::encode(net::failure_frame{1, {ec::io, "garbage"}}));
    mad.send(net::encode(net::want_frame{1, net::hash256{}, 0, 0, 1000}));
  }));
  for (int i = 0; i < 12; ++i) {
    auto said = app.greedy(story, 24);
    BOOST_TEST(said.failure == "");
    BOOST_TEST(said.text == before.text);
  }
  stopping = true;
  for (auto& one : floods)
    one.join();
  BOOST_TEST(app.cluster()["hello"]["hostile"].get<uint64_t>() > 0u);
}

// As long as only a liar lends a model nothing of it is used; from an honest neighbour all of it
// comes.
BOOST_AUTO_TEST_CASE(poisoned_weights_are_never_used) {
  node_options options;
  options.start_all = false;
  options.adjust = [](size_t i, actors::node_config& c) {
    c.ram_bytes = uint64_t{1} << 30;
    c.join.folder = c.cluster->file.parent_path() / ("models" + std::to_string(i));
    auto copy = c.cluster->file.parent_path() / "copy.gguf";
    if (i == 0) {
      std::filesystem::copy_file(demo_model, copy,
                                 std::filesystem::copy_options::overwrite_existing);
      c.models = {{copy, "tiny"}};
    } else if (i == 2) {
      c.models.clear();
    }
  };
  test_cluster all(3, options);
  all.start(0);
  all.settle();
  damage(all.folder() / "copy.gguf"); // its own weights are in memory already
  all.start(2);
  auto wrong_of = [&](const std::string& name) {
    uint64_t n = 0;
    for (const auto& p : fetched(all, 2).peers)
      n += p.name == name ? p.wrong : 0;
    return n;
  };
  test_cluster::wait_for([] { return "the liar to be found out"; },
                         [&] { return wrong_of("node0") > 0; });
  application app(all.node(2).endpoints().front());
  BOOST_TEST(fetched(all, 2).done_bytes == 0u);
  BOOST_TEST(all.node(2).models()->empty());
  BOOST_TEST(app.greedy(story, 4).failure != "");
  all.start(1);
  test_cluster::wait_for([] { return "node 2 to host the model"; },
                         [&] { return all.node(2).models()->size() == 1; });
  all.settle();
  BOOST_TEST(wrong_of("node1") == 0u);
  auto tokens = some_tokens(12);
  BOOST_TEST(same_answer(must(all.logits(2, tokens)), must(all.logits(1, tokens))));
}

BOOST_AUTO_TEST_SUITE_END()
