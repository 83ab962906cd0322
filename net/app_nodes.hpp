// Several nodes that answer alike, used as one: what a node does not bring to its end goes on at
// the next, by replaying prompt and answer so far. Blocking; used by one thread at a time.
#pragma once

#include "net/app_answer.hpp"
#include "net/app_client.hpp"
#include "net/app_ring.hpp"

#include <deque>

namespace coel::net {

struct reached_node {
  size_t index;
  app_client client;
};

/// The first node that can be connected to. Errors: bad_argument (an endpoint that cannot be one),
/// else why each failed.
result<reached_node> connect_any(const std::vector<app_client_options>& nodes);

class app_nodes {
 public:
  /// How often a node may fail in a row before a token comes.
  static constexpr uint32_t tries = 2;
  /// Before a node is asked again that has just failed.
  static constexpr std::chrono::milliseconds pause{200};

  /// Connected to one of them. Errors: those of connect_any.
  static result<app_nodes> connect(std::vector<app_client_options> nodes);

  /// Begins an answer; one at a time.
  void begin(generate_request request);

  /// The next token_reply of the answer or its done_reply; nothing if none came in time. An error
  /// ends the answer: the node's refusal, or why no node could go on. Another node is asked when
  /// the connection is lost, the node shuts down or only helps others; once one has failed also
  /// when the next refuses.
  result<std::optional<app_reply>> next(std::chrono::milliseconds timeout);

  /// Asks the node to stop; the answer then ends with finish_reason::cancelled.
  void cancel();

 private:
  using outcome = result<std::optional<app_reply>>;

  app_nodes(std::vector<app_client_options> nodes, reached_node first);
  result<void> ask();
  result<void> give_up_on(error why);
  outcome take(app_client::incoming in);
  outcome end(outcome last);
  bool goes_elsewhere(ec code) const;

  std::vector<app_client_options> nodes_;
  app_ring ring_;
  std::optional<app_client> client_;
  std::optional<app_answer> answer_; // while one is awaited
  std::optional<uint64_t> asked_;    // under which id, of client_
  std::deque<app_reply> ready_;
  bool cancelled_ = false;
  bool moved_ = false; // a node has failed this answer
};

} // namespace coel::net
