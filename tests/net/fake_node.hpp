// A node that answers without a model: the server under test, and a handler whose answers are
// known. Requests run until told to finish where the prompt is "wait", or where the node is told to
// fall silent or shut down in mid-answer.
#pragma once

#include "net/app_server.hpp"

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <unistd.h>

namespace coel::net::test {

using namespace std::chrono_literals;

/// A folder that is removed with everything in it.
class scratch_folder {
 public:
  scratch_folder() {
    auto name = (std::filesystem::temp_directory_path() / "coel-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~scratch_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::string ipc() const { return "ipc://" + (path_ / "node.sock").string(); }

 private:
  std::filesystem::path path_;
};

/// What becomes of answers of more tokens: no more is said, or the node says that it shuts down, or
/// (before the first) that it only helps others.
struct misfortune {
  enum class kind { silence, shutdown, helper };
  size_t after_tokens = SIZE_MAX; ///< given by this node to each request
  kind then = kind::silence;
};

class fake_node {
 public:
  explicit fake_node(app_server_options options, misfortune fate = {}) : fate_(fate) {
    std::lock_guard lock(mutex_); // requests may come before start() returns
    auto started = app_server::start(std::move(options), {[this](auto who, auto id, auto request) {
                                                            on_request(who, id, std::move(request));
                                                          },
                                                          [this](auto who) { on_gone(who); }});
    if (!started.ok())
      throw std::runtime_error(to_string(started.err()));
    server_ = std::move(*started);
  }
  ~fake_node() { server_->stop(); }

  app_server& server() { return *server_; }
  std::string endpoint(size_t i = 0) const { return server_->endpoints()[i]; }

  /// Waits until `condition()` holds under the lock; false after a generous time.
  template <class Condition>
  bool eventually(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 20s, condition);
  }

  // Under the lock of eventually only:
  size_t requests = 0;
  size_t gone = 0;
  std::vector<generate_request> asked;
  std::map<std::pair<client_ref, uint64_t>, generate_request> waiting; ///< and not answered
  std::vector<std::pair<client_ref, uint64_t>> silent;                 ///< op score: never answered

 private:
  void on_request(client_ref who, uint64_t id, app_request request) {
    std::lock_guard lock(mutex_);
    ++requests;
    std::visit([&](auto& body) { answer(who, id, body); }, request);
    changed_.notify_all();
  }

  void on_gone(client_ref who) {
    std::lock_guard lock(mutex_);
    ++gone;
    std::erase_if(waiting, [&](const auto& one) { return one.first.first == who; });
    changed_.notify_all();
  }

  void reply(client_ref who, uint64_t id, app_reply body) {
    server_->send(who, id, std::move(body));
  }

  // The answer is the prompt's bytes, one token each, up to max_tokens.
  void answer(client_ref who, uint64_t id, generate_request& body) {
    asked.push_back(body);
    auto prompt = body.messages.empty() ? body.prompt : body.messages.back().content;
    if (prompt == "wait") {
      waiting[{who, id}] = body;
      return reply(who, id, token_reply{1, "w", -1, {}});
    }
    if (prompt == "fail")
      return reply(who, id, error{ec::busy, "the fake node is told to fail"});
    const auto begun = body.answered.size();
    if (begun > prompt.size() ||
        !std::equal(body.answered.begin(), body.answered.end(), prompt.begin()))
      return reply(who, id, error{ec::bad_argument, "no node has answered that"});
    auto rest = prompt.substr(begun, body.max_tokens);
    for (size_t sent = 0; sent < rest.size(); ++sent) {
      if (sent == fate_.after_tokens)
        return suffer(who, id, body);
      reply(who, id, token_reply{rest[sent], std::string(1, rest[sent]), -0.5f, {}});
    }
    if (rest.size() == fate_.after_tokens)
      return suffer(who, id, body);
    done_reply done;
    done.reason = begun + rest.size() < prompt.size() ? finish_reason::length : finish_reason::end;
    done.request = 77;
    done.prompt_tokens = static_cast<uint32_t>(prompt.size());
    done.answer_tokens = static_cast<uint32_t>(begun + rest.size());
    done.seed = body.sampling.seed;
    done.times = {1000, 20000, 500000};
    reply(who, id, done);
  }
  void suffer(client_ref who, uint64_t id, const generate_request& body) {
    if (fate_.then == misfortune::kind::silence)
      waiting[{who, id}] = body;
    else if (fate_.then == misfortune::kind::helper)
      reply(who, id, error{ec::helper_only, "the fake node helps others: ask attic"});
    else
      reply(who, id, error{ec::shutting_down, "the fake node shuts down"});
  }
  void answer(client_ref who, uint64_t id, score_request& body) {
    if (body.text == "silent")
      return silent.push_back({who, id});
    score_reply scored;
    for (char c : body.text)
      scored.tokens.push_back(c);
    scored.logprobs.assign(scored.tokens.empty() ? 0 : scored.tokens.size() - 1, -2.0f);
    reply(who, id, scored);
  }
  void answer(client_ref who, uint64_t id, tokenize_request& body) {
    reply(who, id, tokens_reply{{body.text.begin(), body.text.end()}});
  }
  void answer(client_ref who, uint64_t id, detokenize_request& body) {
    reply(who, id, text_reply{{body.tokens.begin(), body.tokens.end()}});
  }
  void answer(client_ref who, uint64_t id, cancel_request& body) {
    auto found = waiting.find({who, body.target});
    if (found == waiting.end())
      return reply(who, id, error{ec::unknown_request, "nothing to cancel"});
    waiting.erase(found);
    done_reply done;
    done.reason = finish_reason::cancelled;
    reply(who, body.target, done);
    reply(who, id, cancelled_reply{});
  }
  void answer(client_ref who, uint64_t id, inspect_request& body) {
    reply(who, id,
          document_reply{body.what == "status" ? status_document
                                               : R"({"what":")" + body.what + "\"}"});
  }

  static inline const std::string status_document =
      R"({"node":{"version":"0.1.0","uptime_s":61,"device":"scalar","threads":2,"draining":false},)"
      R"("models":[{"name":"demo","family":"qwen2moe","layers":4,"experts":8,"top_k":2,"context":512,"bytes":1048576,)"
      R"("kv":{"pages":64,"pages_used":3,"page_tokens":16,"bytes":65536},"sessions":1,"queued":0}],)"
      R"("memory":[{"tier":"ram","budget_bytes":1073741824,"used_bytes":1114112,"weights_bytes":1048576,)"
      R"("kv_bytes":65536,"buffer_bytes":0}],)"
      R"("totals":{"requests":5,"tokens_in":50,"tokens_out":70,"errors":1}})";

  misfortune fate_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<app_server> server_;
};

} // namespace coel::net::test
