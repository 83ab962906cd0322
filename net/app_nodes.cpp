#include "net/app_nodes.hpp"

#include "net/endpoints.hpp"

#include <thread>

namespace coel::net {

using std::chrono::milliseconds;
using clock = std::chrono::steady_clock;

namespace {

milliseconds left_until(clock::time_point deadline) {
  return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(deadline - clock::now()));
}

std::vector<std::string> endpoints_of(const std::vector<app_client_options>& nodes) {
  std::vector<std::string> out;
  out.reserve(nodes.size());
  for (const auto& node : nodes)
    out.push_back(node.endpoint.empty() ? default_endpoint() : node.endpoint);
  return out;
}

} // namespace

result<reached_node> connect_any(const std::vector<app_client_options>& nodes) {
  app_ring ring(endpoints_of(nodes), 1);
  for (const auto& endpoint : endpoints_of(nodes))
    if (auto kind = classify_endpoint(endpoint); !kind.ok())
      return kind.err();
  for (size_t i = 0; i < nodes.size(); ++i) {
    auto client = app_client::connect(nodes[i]);
    if (client.ok())
      return reached_node{i, std::move(*client)};
    ring.failed(client.err());
  }
  return ring.summary();
}

app_nodes::app_nodes(std::vector<app_client_options> nodes, reached_node first)
    : nodes_(std::move(nodes)), ring_(endpoints_of(nodes_), tries),
      client_(std::move(first.client)) {
  ring_.begin_at(first.index);
}

result<app_nodes> app_nodes::connect(std::vector<app_client_options> nodes) {
  auto first = connect_any(nodes);
  if (!first.ok())
    return first.err();
  return app_nodes(std::move(nodes), std::move(*first));
}

void app_nodes::begin(generate_request request) {
  ring_.gained();
  ready_.clear();
  asked_.reset();
  cancelled_ = moved_ = false;
  answer_.emplace(std::move(request), clock::now());
}

void app_nodes::cancel() {
  cancelled_ = true;
  if (client_ && asked_)
    (void)client_->cancel(*asked_); // a lost connection shows in next()
}

app_nodes::outcome app_nodes::next(milliseconds timeout) {
  auto deadline = clock::now() + timeout;
  do {
    if (!ready_.empty()) {
      std::optional reply(std::move(ready_.front()));
      ready_.pop_front();
      return reply;
    }
    if (!answer_)
      return std::optional<app_reply>();
    if (!asked_) {
      if (cancelled_)
        return end(std::optional<app_reply>(answer_->cancelled(clock::now())));
      if (auto asked = ask(); !asked.ok())
        return end(asked.err());
      continue;
    }
    auto came = client_->poll(left_until(deadline));
    if (!came.ok()) {
      if (auto moved = give_up_on(came.err()); !moved.ok())
        return end(moved.err());
      continue;
    }
    if (!*came)
      return std::optional<app_reply>();
    if (auto taken = take(std::move(**came)); !taken.ok() || *taken)
      return taken;
  } while (clock::now() < deadline);
  return std::optional<app_reply>();
}

// One attempt, so that the caller may cancel between two. The error is one of the request itself.
result<void> app_nodes::ask() {
  if (ring_.failed_before())
    std::this_thread::sleep_for(pause);
  if (!client_) {
    auto client = app_client::connect(nodes_[ring_.at()]);
    if (!client.ok())
      return give_up_on(client.err());
    client_.emplace(std::move(*client));
  }
  auto id = client_->send(answer_->rest(clock::now()));
  if (id.ok()) {
    asked_ = *id;
    return {};
  }
  return id.err().code == ec::too_long ? result<void>(id.err()) : give_up_on(id.err());
}

// The error: no node is left.
result<void> app_nodes::give_up_on(error why) {
  client_.reset();
  asked_.reset();
  moved_ = true;
  if (cancelled_ || ring_.failed(std::move(why)))
    return {};
  return ring_.summary();
}

// Any home of a model answers any request alike, so what one refuses at first the others would
// refuse too; in the middle of an answer a node that is full or lacks the model is passed over.
bool app_nodes::goes_elsewhere(ec code) const {
  return code == ec::shutting_down || code == ec::helper_only ||
         (moved_ && (code == ec::busy || code == ec::unknown_model || code == ec::too_long));
}

app_nodes::outcome app_nodes::take(app_client::incoming in) {
  auto* failed = std::get_if<error>(&in.reply);
  if (in.id != *asked_ && !(in.id == 0 && failed != nullptr))
    return std::optional<app_reply>(); // of an answer that was left early
  if (failed != nullptr) {
    if (!goes_elsewhere(failed->code))
      return end(*failed);
    auto moved = give_up_on(std::move(*failed));
    return moved.ok() ? outcome(std::optional<app_reply>()) : end(moved.err());
  }
  auto now = clock::now();
  if (auto* token = std::get_if<token_reply>(&in.reply)) {
    if (!answer_->add(*token, now))
      return std::optional<app_reply>();
    ring_.gained();
    return std::optional(std::move(in.reply));
  }
  auto* done = std::get_if<done_reply>(&in.reply);
  if (done == nullptr)
    return end(error{ec::bad_frame, "the node answered something else than was asked"});
  if (auto held = answer_->take_held())
    ready_.emplace_back(std::move(*held));
  ready_.emplace_back(answer_->ended(std::move(*done), now));
  auto first = std::move(ready_.front());
  ready_.pop_front();
  return end(std::optional(std::move(first)));
}

app_nodes::outcome app_nodes::end(outcome last) {
  answer_.reset();
  asked_.reset();
  return last;
}

} // namespace coel::net
