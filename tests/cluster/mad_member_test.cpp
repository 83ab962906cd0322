// A member that has the keys and says nonsense: it is refused and counted, answers stay right, and
// nobody dies of it.
#include "tests/cluster/closed_support.hpp"
#include "tests/cluster/fake_member.hpp"

#include <atomic>
#include <cstring>
#include <limits>
#include <random>

using namespace coel;
using namespace coel::testing;
using namespace std::chrono_literals;
using net::link_frame_kind;
using bytes = fake_member::bytes;

namespace {

bytes bytes_of(const zmq::message_t& m) {
  return {m.data<std::byte>(), m.data<std::byte>() + m.size()};
}

// Where a dispatch has its fields (docs/links.md).
constexpr size_t at_id = 8, at_model = 16, at_layer = 48, at_experts = 50, at_rows = 52,
                 at_hidden = 56, at_wire = 60, at_values = 64;

template <class T>
bytes with(bytes frame, size_t at, T value) {
  std::memcpy(frame.data() + at, &value, sizeof value);
  return frame;
}

/// Two nodes that hold all experts between them, and somebody else.
struct mad_cluster {
  explicit mad_cluster(fake_member::behaviour acts) : all(2, with_share(0.6)) {
    all.settle();
    whole = must(all.logits(0, tokens));
    member_options o;
    o.listen = network_of(all) + "100";
    o.node = network_of(all) + "1";
    member.emplace(file_of(all), o, std::move(acts));
    app.emplace(all.node(0).endpoints().front());
    wait_until_up();
  }
  void wait_until_up() {
    test_cluster::wait_for([&] { return "the member to be linked:" + all.links(0); },
                           [&] {
                             auto link = app->link("fake");
                             return member->up() && !link.is_null() && link["state"] == "up";
                           });
  }
  /// A machine that stalls may lose the link for a moment.
  void send(const bytes& frame) {
    test_cluster::wait_for([&] { return "a frame to be sent:" + all.links(0); },
                           [&] { return member->send(frame); });
  }
  uint64_t count(const char* what) { return app->link("fake")["counts"][what].get<uint64_t>(); }
  void check_answers() {
    for (size_t i : {0u, 1u})
      BOOST_TEST(same_answer(must(all.logits(i, tokens)), whole), "node " << i);
  }

  test_cluster all;
  std::vector<int32_t> tokens = some_tokens(24);
  std::vector<float> whole;
  std::optional<fake_member> member;
  std::optional<application> app;
};

/// One row for expert 1 of layer 0.
bytes good_dispatch(const actors::served_model& m, uint64_t id) {
  net::dispatch_head head{id,       m.hash, layer_id{0}, 1, m.config().hidden, net::wire_type::f32,
                          1'000'000};
  std::vector<float> row(head.hidden, 0.5f);
  std::vector<net::expert_part> parts{{expert_id{1}, {0}, {1.0f}}};
  return bytes_of(net::encode(head, row, parts));
}

struct forged {
  std::string what;
  bytes frame;
};

/// Frames that do not keep to the protocol.
std::vector<forged> nonsense(const actors::served_model& m) {
  auto dispatch = good_dispatch(m, 1);
  size_t hidden = m.config().hidden, at_part = at_values + 4 * hidden;
  bytes shorter(dispatch.begin(), dispatch.end() - 1), longer = dispatch;
  longer.push_back({});
  net::sum_frame head{7, 1, 64, net::wire_type::f32, 0, 0, {}};
  auto sum = bytes_of(net::encode(head, std::vector<float>(64, 1.0f)));
  auto want = bytes_of(net::encode(net::want_frame{1, m.hash, 0, 0, 1000}));
  return {{"no frame", {}},
          {"an unknown kind", bytes(40, std::byte{0x77})},
          {"a dispatch that ends early", shorter},
          {"a dispatch that is too long", longer},
          {"four billion rows", with(dispatch, at_rows, 0xffffffffu)},
          {"no rows", with(dispatch, at_rows, 0u)},
          {"more rows than there are", with(dispatch, at_rows, 2u)},
          {"four billion columns", with(dispatch, at_hidden, 0xffffffffu)},
          {"a wire type of the future", with(dispatch, at_wire, uint8_t{9})},
          {"more experts than there are", with(dispatch, at_experts, uint16_t{4000})},
          {"no experts", with(dispatch, at_experts, uint16_t{0})},
          {"an expert with more rows than the frame", with(dispatch, at_part + 4, 5u)},
          {"a row beyond the last", with(dispatch, at_part + 8, 1u)},
          {"a sum of other size", with(sum, 20, 5000u)},
          {"a want of a gigabyte", with(want, 24, 1u << 30)},
          {"a record of nothing known", bytes_of(net::encode(net::record_frame{bytes(99)}))}};
}

/// Frames that keep to it, and ask for what there is not.
std::vector<forged> unanswerable(const actors::served_model& m) {
  auto of = [&](uint64_t id) { return good_dispatch(m, id); };
  auto hidden = m.config().hidden;
  auto at_part = at_values + 4 * hidden;
  net::dispatch_head narrow{6, m.hash, layer_id{0}, 1, hidden - 1, net::wire_type::f32, 1'000'000};
  std::vector<net::expert_part> parts{{expert_id{1}, {0}, {1.0f}}};
  return {
      {"a layer beyond the last", with(of(1), at_layer, uint16_t{60000})},
      {"an expert beyond the last", with(of(2), at_part, uint16_t{60000})},
      {"an unknown model", with(of(3), at_model, uint64_t{42})},
      {"a value that is not a number",
       with(of(4), at_values, std::numeric_limits<float>::quiet_NaN())},
      {"an infinite weight", with(of(5), at_part + 12, std::numeric_limits<float>::infinity())},
      {"a row of another width",
       bytes_of(net::encode(narrow, std::vector<float>(hidden - 1), parts))},
      {"a file beyond the last", bytes_of(net::encode(net::want_frame{7, m.hash, 4000, 0, 1000}))},
      {"bytes beyond the end",
       bytes_of(net::encode(net::want_frame{8, m.hash, 0, uint64_t{1} << 60, 1000}))},
      {"a file of an unknown model",
       bytes_of(net::encode(net::want_frame{9, net::hash256{}, 0, 0, 1000}))}};
}

void ignore(fake_member&, link_frame_kind, const bytes&) {}

} // namespace

BOOST_AUTO_TEST_SUITE(mad_member)

BOOST_AUTO_TEST_CASE(frames_that_break_the_protocol_are_counted_and_end_the_link) {
  mad_cluster c(ignore);
  for (const auto& [what, frame] : nonsense(*c.all.model(0).model))
    BOOST_TEST_CONTEXT(what) {
      auto before = c.count("bad_frames"), down = c.count("times_down");
      c.send(frame);
      test_cluster::wait_for([&] { return what + " to be counted: " + c.app->link("fake").dump(); },
                             [&] { return c.count("bad_frames") > before; });
      BOOST_TEST(c.count("times_down") > down);
      c.wait_until_up(); // it may try again: a bad cable looks the same
    }
  c.check_answers();
}

BOOST_AUTO_TEST_CASE(what_cannot_be_answered_fails_with_a_reason) {
  mad_cluster c(ignore);
  uint64_t id = 0;
  for (const auto& [what, frame] : unanswerable(*c.all.model(0).model))
    BOOST_TEST_CONTEXT(what) {
      ++id;
      c.send(frame);
      std::string why;
      test_cluster::wait_for([&] { return "an answer to " + what; },
                             [&, id] {
                               for (const auto& f : c.member->frames(link_frame_kind::failure))
                                 if (auto read = net::decode_failure(f); read->id == id)
                                   why = read->why.message;
                               return !why.empty();
                             });
      BOOST_TEST_MESSAGE(what << ": " << why);
    }
  BOOST_TEST(c.member->frames(link_frame_kind::sum).empty());
  c.check_answers();
}

// What nobody asked for: sums, blocks and failures of ids that were never given, and thousands of
// frames of every kind with random bytes behind a right head.
BOOST_AUTO_TEST_CASE(a_flood_of_forged_frames_does_no_harm) {
  mad_cluster c(ignore);
  std::mt19937 random(1);
  auto some = [&](size_t most) {
    bytes out(random() % most);
    for (auto& b : out)
      b = static_cast<std::byte>(random());
    return out;
  };
  size_t sent = 0;
  for (int i = 0; i < 4000; ++i) {
    bytes frame = some(300);
    if (frame.size() >= 4) {
      auto kind = random() % 11; // all but drain, which members may ask for
      std::memcpy(frame.data(), "\0CoL", 4);
      frame[0] = static_cast<std::byte>(kind);
    }
    sent += c.member->send(frame);
    if (i % 3 == 0) {
      net::sum_frame head{random() % 1000, 1, 64, net::wire_type::f32, 0, 0, {}};
      sent += c.member->send(net::encode(head, std::vector<float>(64, 1.0f)));
      sent += c.member->send(net::encode(net::failure_frame{random() % 1000, {ec::io, "no"}}));
      sent += c.member->send(net::encode(net::block_frame{random() % 1000, 1 << 20, {}}, some(99)));
    }
    if (i % 500 == 0)
      BOOST_TEST(same_answer(must(c.all.logits(0, c.tokens)), c.whole));
  }
  BOOST_TEST(sent > 100u);
  c.wait_until_up();
  BOOST_TEST(c.count("bad_frames") > 0u);
  c.check_answers();
}

// It says that it holds every expert and is fast, and gives sums that no expert makes.
BOOST_AUTO_TEST_CASE(sums_that_are_no_numbers_are_made_elsewhere) {
  std::atomic<size_t> given{0};
  auto acts = [&](fake_member& me, link_frame_kind kind, const bytes& frame) {
    if (kind == link_frame_kind::record)
      return me.claim_everything(frame);
    if (kind != link_frame_kind::dispatch)
      return;
    auto asked = *net::decode_dispatch(frame);
    auto rows = asked.head.rows, hidden = asked.head.hidden;
    std::vector<float> values(size_t{rows} * hidden, 1.0f);
    auto which = given++ % 5;
    if (which == 0)
      values.back() = std::numeric_limits<float>::quiet_NaN();
    if (which == 1)
      values.front() = std::numeric_limits<float>::infinity();
    if (which == 2)
      values.assign(values.size(), -std::numeric_limits<float>::infinity());
    if (which == 3) { // the same number of values, in another shape
      std::swap(rows, hidden);
    }
    if (which == 4) {
      rows = 1, hidden = 1;
      values.resize(1);
    }
    auto wire = which == 1 ? net::wire_type::int8 : asked.head.wire;
    me.send(net::encode(net::sum_frame{asked.head.id, rows, hidden, wire, 1, 1, {}}, values));
  };
  mad_cluster c(acts);
  test_cluster::wait_for([] { return "the member to be asked"; },
                         [&] {
                           c.check_answers();
                           return given >= 5;
                         });
  BOOST_TEST(c.count("bad_frames") >= 5u);
  BOOST_TEST(c.all.network(0).repeats >= 5u);
  c.check_answers();
}

BOOST_AUTO_TEST_SUITE_END()
