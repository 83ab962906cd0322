// A session that takes the likeliest token each time, and keeps what it wrote.
#pragma once

#include "actors/errors.hpp"
#include "actors/interfaces.hpp"

#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <future>
#include <vector>

namespace coel::actors::test {

struct sentence {
  std::promise<result<std::vector<int32_t>>> done;
  std::vector<int32_t> tokens;
};

/// `at_token` is told how many there are.
inline session_actor::behavior_type writer(session_actor::pointer self,
                                           std::shared_ptr<sentence> to, size_t length,
                                           std::function<void(size_t)> at_token) {
  return {[](atom::status) { return component_status{}; },
          [](atom::begin) {},
          [](const session_probe_ptr&) {},
          [](const app_answer&) {},
          [=](const session_logits& l) -> caf::result<session_move> {
            const float* row = l.values + size_t{l.rows - 1} * l.vocab;
            auto best = static_cast<int32_t>(std::max_element(row, row + l.vocab) - row);
            to->tokens.push_back(best);
            if (at_token)
              at_token(to->tokens.size());
            if (to->tokens.size() < length)
              return session_move{session_move::kind::feed, best};
            to->done.set_value(to->tokens);
            self->quit();
            return session_move{session_move::kind::finish, 0};
          },
          [=](const error& why) { to->done.set_value(why); },
          [](atom::cancel) {},
          [](atom::gone) {},
          [](atom::deadline) {}};
}

/// Has a sentence of that length written after the prompt; `at_token` as of a writer.
inline std::future<result<std::vector<int32_t>>> write(caf::actor_system& system,
                                                       const scheduler_actor& scheduler,
                                                       std::vector<int32_t> prompt, size_t length,
                                                       std::function<void(size_t)> at_token = {}) {
  static std::atomic<uint64_t> requests = 5'000'000; // apart from other requests of a test
  auto to = std::make_shared<sentence>();
  auto outcome = to->done.get_future();
  auto session = system.spawn(writer, to, length, std::move(at_token));
  admission ask{request_id{++requests}, std::move(prompt), static_cast<uint32_t>(length), false};
  caf::scoped_actor self{system};
  self->request(scheduler, std::chrono::seconds(20), std::move(ask), session)
      .receive([](bool) {}, [&](caf::error& why) { to->done.set_value(from_caf(why)); });
  return outcome;
}

inline std::vector<int32_t> written(std::future<result<std::vector<int32_t>>> outcome) {
  BOOST_REQUIRE_MESSAGE(outcome.wait_for(std::chrono::seconds(60)) == std::future_status::ready,
                        "no answer in 60 s");
  auto got = outcome.get();
  BOOST_REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : got.err().message));
  return *got;
}

} // namespace coel::actors::test
