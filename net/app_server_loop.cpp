#include "net/app_server_loop.hpp"

#include "net/app_protocol.hpp"

namespace coel::net {

namespace {

// Work per socket and turn; ROUTER takes from its peers in turn, so one that floods gets its share
// and no more.
constexpr int messages_per_round = 64;
constexpr std::chrono::milliseconds idle_wait{500};
constexpr std::chrono::milliseconds retry_wait{10}; // libzmq does not tell when one peer has room

uint64_t number(client_ref ref) {
  return static_cast<uint64_t>(ref);
}

bool wants_one_reply(const app_request& request) {
  const auto* generate = std::get_if<generate_request>(&request);
  return generate != nullptr && !generate->stream;
}

error too_many(const char* what, size_t limit) {
  return {ec::busy, "more than " + std::to_string(limit) + " " + what + "; try again later"};
}

} // namespace

app_server_loop::app_server_loop(std::vector<router> routers, std::unique_ptr<zap_handler> gate,
                                 outbox& out, const app_server_options& options,
                                 app_handler handler)
    : routers_(std::move(routers)), gate_(std::move(gate)), out_(&out), options_(options),
      handler_(std::move(handler)) {
  poll_.push_back({nullptr, out_->descriptor(), ZMQ_POLLIN, 0});
  for (auto& one : routers_) {
    poll_.push_back({one.socket().handle(), 0, ZMQ_POLLIN, 0});
    poll_.push_back({one.monitor().handle(), 0, ZMQ_POLLIN, 0});
  }
  if (gate_)
    poll_.push_back({gate_->socket().handle(), 0, ZMQ_POLLIN, 0});
}

void app_server_loop::run(const std::atomic<bool>& stopping) {
  while (!stopping) {
    wait();
    if (gate_)
      gate_->serve();
    deliver_queued();
    for (size_t i = 0; i < routers_.size(); ++i) {
      receive_round(i);
      drop_gone(i);
    }
    flush_all();
  }
  deliver_queued();
  flush_all();
}

void app_server_loop::wait() {
  try {
    zmq::poll(poll_, anything_waits() ? retry_wait : idle_wait);
  } catch (const zmq::error_t&) { // EINTR: look at everything and wait again
  }
}

void app_server_loop::receive_round(size_t from) {
  for (int i = 0; i < messages_per_round; ++i) {
    auto in = routers_[from].receive();
    if (!in)
      return;
    drop_gone(from);
    handle(from, *in);
  }
}

void app_server_loop::handle(size_t from, router::message& in) {
  auto* who = client_of(from, in.peer);
  if (who == nullptr) {
    routers_[from].send(in.peer, in.delimited,
                        encode(0, app_reply(too_many("clients", options_.max_clients))));
    return;
  }
  if (who->record.ignored(std::chrono::steady_clock::now()))
    return;
  if (!in.well_formed)
    return refuse(*who, in, std::nullopt,
                  {ec::bad_frame, "a message must be one frame, or an empty one and one"});
  auto message = decode_request(in.payload.to_string_view());
  if (!message.body.ok())
    return refuse(*who, in, message.id, message.body.err());
  accept(*who, in, *message.id, std::move(*message.body));
}

app_server_loop::client* app_server_loop::client_of(size_t from, const std::string& peer) {
  auto key = peer_key(from, peer);
  if (auto found = clients_.find(key); found != clients_.end())
    return &found->second;
  if (clients_.size() >= options_.max_clients)
    return nullptr;
  auto& made = clients_[key];
  made.ref = client_ref{next_ref_++};
  made.router = from;
  made.peer = peer;
  by_ref_[number(made.ref)] = &made;
  return &made;
}

void app_server_loop::refuse(client& who, const router::message& in, std::optional<uint64_t> id,
                             const error& why) {
  auto verdict = who.record.bad_message(std::chrono::steady_clock::now());
  if (verdict == misbehaviour::verdict::ignore)
    return;
  error said = why;
  if (verdict == misbehaviour::verdict::answer_and_ignore)
    said.message += " (too many bad messages: this client is not heard for " +
                    std::to_string(misbehaviour::pause.count()) + " s)";
  post(who, in.delimited, encode(id.value_or(0), app_reply(said)));
}

void app_server_loop::accept(client& who, const router::message& in, uint64_t id,
                             app_request request) {
  bool cancel = std::holds_alternative<cancel_request>(request);
  size_t limit = cancel ? 2 * options_.max_in_flight : options_.max_in_flight;
  if (who.requests.size() >= limit)
    return post(who, in.delimited, encode(id, app_reply(too_many("requests at once", limit))));
  if (who.requests.contains(id))
    return refuse(
        who, in, std::nullopt,
        {ec::bad_argument, "id " + std::to_string(id) + " belongs to a request that still runs"});
  auto& open = who.requests[id];
  open.delimited = in.delimited;
  if (in.one_reply || wants_one_reply(request))
    open.gathered.emplace();
  handler_.on_request(who.ref, id, std::move(request));
}

void app_server_loop::deliver_queued() {
  auto queued = out_->take();
  for (auto& one : queued.entries)
    deliver(std::move(one));
  for (auto ref : queued.overrun)
    if (auto found = by_ref_.find(number(ref)); found != by_ref_.end())
      cancel_on_overrun(*found->second);
}

void app_server_loop::deliver(outbox::entry one) {
  auto found = by_ref_.find(number(one.client));
  if (found == by_ref_.end())
    return;
  auto& who = *found->second;
  auto request = who.requests.find(one.id);
  if (request == who.requests.end())
    return;
  auto& open = request->second;
  auto* token = std::get_if<token_reply>(&one.reply);
  if (token != nullptr && open.gathered)
    return gather(*open.gathered, *token);
  if (auto* done = std::get_if<done_reply>(&one.reply); done != nullptr && open.gathered)
    done->answer = std::move(open.gathered);
  auto bytes = encode(one.id, one.reply);
  if (bytes.size() > max_reply_bytes)
    bytes = encode(one.id, app_reply(error{ec::too_long, "the answer exceeds the largest reply"}));
  post(who, open.delimited, std::move(bytes));
  if (token == nullptr)
    who.requests.erase(one.id);
}

void app_server_loop::post(client& who, bool delimited, std::string payload) {
  bool had_room = who.waiting.push({std::move(payload), delimited});
  flush(who);
  if (!had_room)
    cancel_on_overrun(who);
}

void app_server_loop::flush(client& who) {
  while (!who.waiting.empty()) {
    const auto& next = who.waiting.front();
    if (routers_[who.router].send(who.peer, next.delimited, next.payload) == router::outcome::full)
      return;
    who.waiting.pop(); // to a peer that is gone nothing can be sent; its event comes
  }
}

void app_server_loop::flush_all() {
  for (auto& [key, who] : clients_)
    flush(who);
}

bool app_server_loop::anything_waits() const {
  for (const auto& [key, who] : clients_)
    if (!who.waiting.empty())
      return true;
  return false;
}

// The client does not read its answers: its requests end, each with an error in place of what it
// missed, and for the handler it is gone. Should it read again, it starts afresh.
void app_server_loop::cancel_on_overrun(client& who) {
  who.waiting.clear();
  error missed{ec::busy, "the answers were not read in time and have been dropped"};
  for (const auto& [id, open] : who.requests)
    who.waiting.push({encode(id, app_reply(missed)), open.delimited});
  who.requests.clear();
  auto old = who.ref;
  by_ref_.erase(number(old));
  who.ref = client_ref{next_ref_++};
  by_ref_[number(who.ref)] = &who;
  handler_.on_client_gone(old);
}

void app_server_loop::drop_gone(size_t from) {
  for (auto& peer : routers_[from].take_gone()) {
    auto found = clients_.find(peer_key(from, peer));
    if (found == clients_.end())
      continue;
    auto ref = found->second.ref;
    by_ref_.erase(number(ref));
    clients_.erase(found);
    handler_.on_client_gone(ref);
  }
}

} // namespace coel::net
