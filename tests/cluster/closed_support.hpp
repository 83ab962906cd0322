// What the tests of a closed cluster share: questions as applications ask them, and clusters whose
// wires a test holds.
#pragma once

#include "net/app_client.hpp"
#include "tests/cluster/answers.hpp"
#include "tests/cluster/tap.hpp"
#include "tests/cluster/test_cluster.hpp"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <functional>

namespace coel::testing {

inline const std::string story = "Once upon a time, there was a little girl named Lily. She";

/// Each node has memory for that share of the experts.
inline node_options with_share(double share) {
  node_options o;
  o.share = share;
  return o;
}

/// Within rounding: the demo model is Q8_0, see exact_test.
inline bool same_answer(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && distance(a, b) < 0.02; // not if one is NaN
}

/// An application of the node at that endpoint.
class application {
 public:
  explicit application(const std::string& endpoint) : client_(connect(endpoint)) {}

  struct said {
    std::string text, failure;
  };
  said greedy(const std::string& prompt, uint32_t tokens) {
    generate_request r;
    r.prompt = prompt;
    r.max_tokens = tokens;
    r.ignore_end = true;
    r.sampling.temperature = 0;
    BOOST_REQUIRE(client_.send(r).ok());
    said out;
    for (;;) {
      auto got = client_.poll(std::chrono::seconds(30));
      BOOST_REQUIRE(got.ok());
      BOOST_REQUIRE_MESSAGE(got->has_value(), "no reply in 30 s");
      if (auto* token = std::get_if<token_reply>(&(*got)->reply))
        out.text += token->text;
      else if (auto* failure = std::get_if<error>(&(*got)->reply))
        return out.failure = failure->message, out;
      else if (std::holds_alternative<done_reply>((*got)->reply))
        return out;
    }
  }
  /// What `coel-inspect --json` tells of the cluster.
  nlohmann::json cluster() {
    auto reply = client_.ask(inspect_request{"cluster", "", 0, 1, ""}, std::chrono::seconds(20));
    BOOST_REQUIRE_MESSAGE(reply.ok(), (reply.ok() ? "" : reply.err().message));
    return nlohmann::json::parse(std::get<document_reply>(*reply).json);
  }
  /// Null if there is no link to a node of that name.
  nlohmann::json link(const std::string& name) {
    auto told = cluster();
    for (const auto& one : told.at("links"))
      if (one.at("name") == name)
        return one;
    return {};
  }

 private:
  static net::app_client connect(const std::string& endpoint) {
    auto made = net::app_client::connect({endpoint, {}, {}});
    BOOST_REQUIRE(made.ok());
    return std::move(*made);
  }
  net::app_client client_;
};

inline net::cluster_file file_of(const test_cluster& all) {
  auto read = net::read_cluster_file(all.folder() / "cluster.toml");
  BOOST_REQUIRE(read.ok());
  return *read;
}

/// "127.1.2." of a cluster whose nodes are at 127.1.2.1 and so on.
inline std::string network_of(const test_cluster& all) {
  auto first = file_of(all).peers.at(0);
  return first.substr(0, first.rfind('.') + 1);
}

/// Nodes that reach each other over taps only.
class tapped_cluster {
 public:
  tapped_cluster(size_t nodes, node_options options, bool record = false)
      : usual_(options.adjust), all_(nodes, adjusted(std::move(options))) {
    for (size_t i = 0; i < nodes; ++i)
      for (size_t k = 0; k < nodes; ++k)
        if (i != k) {
          tap_options t{seen(i, k), network_of(all_) + std::to_string(k + 1), seen(k, i)};
          t.record = record;
          taps_[{i, k}] = std::make_unique<tap>(t);
        }
    for (size_t i = 0; i < nodes; ++i)
      all_.start(i);
  }

  test_cluster& nodes() { return all_; }
  /// Between those of `some` and all others.
  void cut(const std::vector<size_t>& some, bool now) {
    auto is_one = [&](size_t i) { return std::find(some.begin(), some.end(), i) != some.end(); };
    for (auto& [ends, wire] : taps_)
      if (is_one(ends.first) != is_one(ends.second))
        wire->cut(now);
  }
  std::string recorded() const {
    std::string out;
    for (const auto& [ends, wire] : taps_)
      out += wire->recorded();
    return out;
  }

 private:
  /// Where node i finds node k, and where node k's connections to it come from.
  std::string seen(size_t i, size_t k) const {
    return network_of(all_) + std::to_string(50 + 10 * i + k);
  }
  node_options adjusted(node_options options) {
    options.start_all = false;
    options.adjust = [this](size_t i, actors::node_config& c) {
      if (usual_)
        usual_(i, c);
      auto file = file_of(all_);
      file.peers.clear();
      for (size_t k = 0; k < all_.size(); ++k)
        if (k != i)
          file.peers.push_back(seen(i, k));
      c.cluster->file = all_.folder() / ("cluster" + std::to_string(i) + ".toml");
      if (!std::filesystem::exists(c.cluster->file))
        BOOST_REQUIRE(net::write_cluster_file(c.cluster->file, file).ok());
      // With two addresses a node does not say where it is: others go by where its frames come
      // from.
      c.cluster->listen.push_back(network_of(all_) + std::to_string(20 + i));
      c.cluster->hello_port = 0;
    };
    return options;
  }

  std::function<void(size_t, actors::node_config&)> usual_;
  test_cluster all_;
  std::map<std::pair<size_t, size_t>, std::unique_ptr<tap>> taps_;
};

} // namespace coel::testing
