// A neighbour that says anything at any time. Input: steps of one byte that says what happens, one
// of length, and that many bytes of a frame. The link must never be up with another version, and
// what it tells must fit its state.
#include "net/link_handshake.hpp"

#include <cstdlib>

using namespace coel;
using namespace coel::net;
using namespace std::chrono_literals;

namespace {

using bytes = std::span<const std::byte>;

greeting_frame own_greeting() {
  greeting_frame own;
  own.boot = 1;
  own.name = "a";
  own.build = "1";
  return own;
}

class neighbour {
 public:
  void step(unsigned what, bytes frame) {
    now_ += 10ms * (what >> 4);
    switch (what % 6) {
    case 0:
      return check(link_.connected(now_));
    case 1:
      return check(link_.lost({ec::io, "broke"}, now_));
    case 2:
      return check(link_.tick(now_));
    case 3:
      return greet(frame);
    default:
      return receive(frame);
    }
  }

 private:
  // Echoes the latest nonce, which no fuzzer would guess.
  void greet(bytes frame) {
    auto greeting = decode_greeting(frame);
    if (!greeting.ok())
      return;
    greeting->echo = nonce_;
    check(link_.greeted(*greeting, now_));
  }

  void receive(bytes frame) {
    if (auto greeting = decode_greeting(frame); greeting.ok())
      check(link_.greeted(*greeting, now_));
    else if (auto refusal = decode_refusal(frame); refusal.ok())
      check(link_.refused(*refusal, now_));
    else if (auto goodbye = decode_goodbye(frame); goodbye.ok())
      check(link_.parted(*goodbye, now_));
    else if (auto ping = decode_ping(frame); ping.ok())
      check(kind_of(frame) == link_frame_kind::ping ? link_.pinged(*ping, now_)
                                                    : link_.pong(*ping, now_));
  }

  void check(const link_handshake::actions& todo) {
    if (todo.came_up && (todo.went_down || up_))
      std::abort();
    if (todo.went_down && !up_)
      std::abort();
    up_ = todo.came_up || (up_ && !todo.went_down);
    if (up_ != (link_.now() == link_handshake::state::up))
      std::abort();
    if (up_ && (link_.theirs()->version != link_protocol_version || link_.theirs()->build != "1"))
      std::abort();
    for (const auto& frame : todo.send)
      if (auto sent = decode_greeting({frame.data<std::byte>(), frame.size()}); sent.ok())
        nonce_ = sent->nonce;
  }

  link_handshake::time_point now_{1h};
  link_handshake link_{own_greeting(), 1, now_};
  uint64_t nonce_ = 0;
  bool up_ = false;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  bytes rest(reinterpret_cast<const std::byte*>(data), size);
  neighbour other;
  while (rest.size() >= 2) {
    auto what = std::to_integer<unsigned>(rest[0]);
    auto length = std::min(std::to_integer<size_t>(rest[1]), rest.size() - 2);
    other.step(what, rest.subspan(2, length));
    rest = rest.subspan(2 + length);
  }
  return 0;
}
