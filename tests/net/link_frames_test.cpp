// What nodes say to each other: round trips, rounding, and frames that somebody has forged.
#include "common/half.hpp"
#include "net/link_frames.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

using namespace coel;
using namespace coel::net;

namespace {

using bytes = std::vector<std::byte>;

bytes bytes_of(const zmq::message_t& message) {
  return {message.data<std::byte>(), message.data<std::byte>() + message.size()};
}

std::vector<float> some_values(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(count);
  for (auto& value : out)
    value = normal(random);
  return out;
}

hash256 some_hash(uint8_t first) {
  hash256 out{};
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::byte>(first + i);
  return out;
}

dispatch_head some_head(wire_type wire, uint32_t rows, uint32_t hidden) {
  return {77, some_hash(3), layer_id{5}, rows, hidden, wire, 123456};
}

const std::vector<expert_part> two_experts{{expert_id{9}, {0, 2}, {0.25f, -1.5f}},
                                           {expert_id{3}, {1}, {1.0f}}};

// Largest error in units of what the type promises.
void check_close(wire_type wire, std::span<const float> sent, std::span<const float> got,
                 uint32_t hidden) {
  BOOST_REQUIRE(sent.size() == got.size());
  for (size_t i = 0; i < sent.size(); ++i) {
    float allowed = 0;
    if (wire == wire_type::f16)
      allowed = std::abs(sent[i]) * 0x1p-11f + 0x1p-25f;
    if (wire == wire_type::int8) {
      size_t from = i - i % hidden % 64;
      size_t to = std::min(from + 64, i - i % hidden + hidden);
      float largest = 0;
      for (size_t k = from; k < to; ++k)
        largest = std::max(largest, std::abs(sent[k]));
      allowed = largest / 127 * 0.501f;
    }
    BOOST_TEST_REQUIRE(std::abs(sent[i] - got[i]) <= allowed);
  }
}

// The error code with which every frame decoder answers; none if it accepts.
ec verdict(std::span<const std::byte> frame) {
  auto code = [](const auto& decoded) { return decoded.ok() ? ec::none : decoded.err().code; };
  auto kind = kind_of(frame);
  if (!kind)
    return ec::bad_frame;
  switch (*kind) {
  case link_frame_kind::greeting:
    return code(decode_greeting(frame));
  case link_frame_kind::refusal:
    return code(decode_refusal(frame));
  case link_frame_kind::dispatch:
    return code(decode_dispatch(frame));
  case link_frame_kind::sum:
    return code(decode_sum(frame));
  case link_frame_kind::failure:
    return code(decode_failure(frame));
  case link_frame_kind::ping:
  case link_frame_kind::pong:
    return code(decode_ping(frame));
  case link_frame_kind::record:
    return code(decode_record(frame));
  case link_frame_kind::want:
    return code(decode_want(frame));
  case link_frame_kind::block:
    return code(decode_block(frame));
  case link_frame_kind::goodbye:
    return code(decode_goodbye(frame));
  case link_frame_kind::drain:
    return code(decode_drain(frame));
  case link_frame_kind::output:
    return code(decode_output(frame));
  case link_frame_kind::reservation:
    return code(decode_reservation(frame));
  case link_frame_kind::guest:
    return code(decode_guest(frame));
  case link_frame_kind::guest_answer:
    return code(decode_guest_answer(frame));
  case link_frame_kind::guest_end:
    return code(decode_guest_end(frame));
  case link_frame_kind::stage_open:
    return code(decode_stage_open(frame));
  case link_frame_kind::stage_granted:
    return code(decode_stage_granted(frame));
  case link_frame_kind::stage_close:
    return code(decode_stage_close(frame));
  case link_frame_kind::stage_run:
    return code(decode_stage_run(frame));
  case link_frame_kind::stage_answer:
    return code(decode_stage_answer(frame));
  }
  return ec::internal;
}

greeting_frame some_greeting() {
  greeting_frame out;
  out.nonce = 1;
  out.echo = 2;
  out.boot = 3;
  out.link_port = 7420;
  out.link_address = "10.0.0.7";
  out.name = "küche";
  out.build = "0.1.0";
  out.models = {{"qwen", some_hash(1)}, {"olmoe", some_hash(2)}};
  return out;
}

reservation_message some_reservation() {
  return {reservation_message::what::reject,
          {"key of the home", 77},
          1ull << 33,
          0.25,
          std::chrono::microseconds(123456)};
}

stage_run some_run(uint32_t hidden) {
  stage_run r;
  r.model = some_hash(4);
  r.run = 1ull << 40;
  r.home = "key of the home";
  r.hops = {{"second", 2, 5}, {"third", 5, 6}};
  r.parts = {{7, 0, 2}, {1ull << 33, 900, 1}};
  r.wanted = {1, 2};
  r.hidden = hidden;
  r.top_k = 2;
  r.values = some_values(size_t{3} * hidden, hidden);
  r.routing = {1, 2, 3, 4, 5, 6, 59, 8, 9, 10, 11, 12};
  r.costs = {5, 6, 7, 1ull << 35};
  return r;
}

stage_answer some_stage_answer(uint32_t rows, uint32_t hidden) {
  stage_answer a;
  a.model = some_hash(4);
  a.run = 9;
  a.hidden = hidden;
  a.values = some_values(size_t{rows} * hidden, hidden);
  a.routing = {3, 1, 2};
  a.costs = {1, 2, 3, 4};
  return a;
}

// One of each kind whose size is fixed by its fields.
std::vector<bytes> one_of_each() {
  auto values = some_values(3 * 70, 1);
  std::vector<bytes> out;
  for (auto wire : {wire_type::f32, wire_type::f16, wire_type::int8}) {
    out.push_back(bytes_of(encode(some_head(wire, 3, 70), values, two_experts)));
    out.push_back(bytes_of(encode(sum_frame{9, 3, 70, wire, 5, 6, {}}, values)));
    out.push_back(bytes_of(encode(output_head{9, some_hash(3), 3, 70, 64, 640, wire, 5}, values)));
  }
  out.push_back(bytes_of(encode(failure_frame{4, {ec::expert_not_here, "moved"}})));
  out.push_back(bytes_of(encode(some_greeting())));
  out.push_back(bytes_of(encode(refusal_frame{8, {ec::version_mismatch, "update"}})));
  out.push_back(bytes_of(encode(link_frame_kind::ping, ping_frame{1, 2})));
  out.push_back(bytes_of(encode(link_frame_kind::pong, ping_frame{1, 2})));
  out.push_back(bytes_of(encode(want_frame{1, some_hash(5), 2, 4096, 65536})));
  out.push_back(bytes_of(encode(goodbye_frame{"stopped"})));
  out.push_back(bytes_of(encode(drain_frame{})));
  out.push_back(bytes_of(encode(some_reservation())));
  out.push_back(bytes_of(encode(guest_end_frame{6})));
  out.push_back(bytes_of(encode(stage_open_frame{5, {some_hash(1), 6, 700, 3, 9}})));
  out.push_back(bytes_of(encode(stage_granted_frame{5})));
  out.push_back(bytes_of(encode(stage_close{some_hash(1), 6})));
  for (auto wire : {wire_type::f32, wire_type::f16}) {
    out.push_back(bytes_of(encode(some_run(70), wire)));
    out.push_back(bytes_of(encode(some_stage_answer(3, 70), wire)));
    out.push_back(bytes_of(encode(some_stage_answer(0, 70), wire)));
  }
  return out;
}

template <class T>
bytes with(bytes frame, size_t at, T value) {
  std::memcpy(frame.data() + at, &value, sizeof value);
  return frame;
}

} // namespace

BOOST_AUTO_TEST_SUITE(link_frames)

BOOST_AUTO_TEST_CASE(layers_elsewhere) {
  auto open = decode_stage_open(bytes_of(encode(stage_open_frame{5, {some_hash(1), 6, 70, 3, 9}})));
  BOOST_REQUIRE(open.ok());
  BOOST_TEST((open->id == 5 && open->open.model == some_hash(1) && open->open.session == 6 &&
              open->open.tokens == 70 && open->open.first == 3 && open->open.end == 9));
  BOOST_TEST(decode_stage_granted(bytes_of(encode(stage_granted_frame{8})))->id == 8u);
  auto close = decode_stage_close(bytes_of(encode(stage_close{some_hash(2), 6})));
  BOOST_TEST((close->session == 6 && close->model == some_hash(2)));
  for (auto wire : {wire_type::f32, wire_type::f16})
    for (uint32_t hidden : {1u, 8u, 65u, 2048u}) {
      auto sent = some_run(hidden);
      auto got = decode_stage_run(bytes_of(encode(sent, wire)));
      BOOST_REQUIRE(got.ok());
      BOOST_TEST((got->model == sent.model && got->run == sent.run && got->home == sent.home &&
                  got->hops == sent.hops && got->parts == sent.parts && got->hidden == hidden &&
                  got->top_k == sent.top_k && got->costs == sent.costs));
      BOOST_TEST(got->wanted == sent.wanted);
      BOOST_TEST(got->routing == sent.routing);
      check_close(wire, sent.values, got->values, hidden);
      auto said = some_stage_answer(2, hidden);
      auto heard = decode_stage_answer(bytes_of(encode(said, wire)));
      BOOST_REQUIRE(heard.ok());
      BOOST_TEST((heard->outcome.ok() && heard->model == said.model && heard->run == said.run &&
                  heard->costs == said.costs && heard->routing == said.routing));
      check_close(wire, said.values, heard->values, hidden);
    }
}

BOOST_AUTO_TEST_CASE(a_stage_says_what_went_wrong) {
  stage_answer failed;
  failed.run = 3;
  failed.outcome = error{ec::shutting_down, "it drains"};
  auto heard = decode_stage_answer(bytes_of(encode(failed, wire_type::f16)));
  BOOST_REQUIRE(heard.ok());
  BOOST_REQUIRE(!heard->outcome.ok());
  BOOST_TEST((heard->outcome.err().code == ec::shutting_down));
  BOOST_TEST(heard->outcome.err().message == "it drains");
  BOOST_TEST(heard->values.empty());
}

BOOST_AUTO_TEST_CASE(runs_that_contradict_themselves) {
  auto refused = [](const char* what, auto change) {
    auto run = some_run(8);
    change(run);
    BOOST_TEST(!decode_stage_run(bytes_of(encode(run, wire_type::f32))).ok(), what);
  };
  refused("a gap between stages", [](auto& r) { r.hops[1].first = 6, r.hops[1].end = 7; });
  refused("a stage without layers", [](auto& r) { r.hops[1].end = 5; });
  refused("routing of another shape", [](auto& r) { r.routing.pop_back(); });
  refused("a wanted row that is not there", [](auto& r) { r.wanted = {1, 3}; });
  refused("wanted rows that do not rise", [](auto& r) { r.wanted = {2, 1}; });
  refused("no sessions", [](auto& r) { r.parts.clear(), r.values.clear(), r.routing.clear(); });
  refused("positions beyond what can be counted",
          [](auto& r) { r.parts[1].position = UINT32_MAX; });
  auto nan = some_run(8);
  nan.values[3] = std::numeric_limits<float>::quiet_NaN();
  auto got = decode_stage_run(bytes_of(encode(nan, wire_type::f32)));
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST((got.err().code == ec::bad_argument));
}

BOOST_AUTO_TEST_CASE(dispatches_and_sums) {
  for (auto wire : {wire_type::f32, wire_type::f16, wire_type::int8})
    for (uint32_t hidden : {1u, 7u, 8u, 63u, 64u, 65u, 200u, 2048u}) {
      auto values = some_values(3 * hidden, hidden);
      auto frame = bytes_of(encode(some_head(wire, 3, hidden), values, two_experts));
      auto got = decode_dispatch(frame);
      BOOST_REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : to_string(got.err())));
      check_close(wire, values, got->activations, hidden);
      BOOST_TEST(got->head.id == 77u);
      BOOST_TEST((got->head.model == some_hash(3)));
      BOOST_TEST((got->head.layer == layer_id{5}));
      BOOST_TEST(got->head.rows == 3u);
      BOOST_TEST(got->head.hidden == hidden);
      BOOST_TEST((got->head.wire == wire));
      BOOST_TEST(got->head.patience_us == 123456u);
      BOOST_REQUIRE(got->experts.size() == 2u);
      for (size_t i = 0; i < 2; ++i) {
        BOOST_TEST((got->experts[i].expert == two_experts[i].expert));
        BOOST_TEST(got->experts[i].rows == two_experts[i].rows);
        BOOST_TEST(got->experts[i].weights == two_experts[i].weights);
      }
      auto sum = decode_sum(bytes_of(encode(sum_frame{9, 3, hidden, wire, 5, 6, {}}, values)));
      BOOST_REQUIRE(sum.ok());
      check_close(wire, values, sum->values, hidden);
      BOOST_TEST(sum->id == 9u);
      BOOST_TEST(sum->wait_us == 5u);
      BOOST_TEST(sum->run_us == 6u);
      BOOST_TEST((sum->wire == wire));
      output_head asked{9, some_hash(4), 3, hidden, 128, 70'000, wire, 123};
      auto part = decode_output(bytes_of(encode(asked, values)));
      BOOST_REQUIRE(part.ok());
      check_close(wire, values, part->activations, hidden);
      BOOST_TEST(part->head.id == 9u);
      BOOST_TEST((part->head.model == some_hash(4)));
      BOOST_TEST(part->head.first == 128u);
      BOOST_TEST(part->head.end == 70'000u);
      BOOST_TEST(part->head.patience_us == 123u);
    }
}

BOOST_AUTO_TEST_CASE(columns_of_an_output_have_bounds) {
  auto values = some_values(2 * 64, 1);
  auto columns = [&](uint32_t first, uint32_t end) {
    return verdict(bytes_of(
        encode(output_head{1, some_hash(1), 2, 64, first, end, wire_type::f16, 0}, values)));
  };
  BOOST_TEST((columns(0, 1u << 20) == ec::none));
  BOOST_TEST((columns(0, (1u << 20) + 1) == ec::bad_frame));
  BOOST_TEST((columns(64, 64) == ec::bad_frame));
  BOOST_TEST((columns(65, 64) == ec::bad_frame));
  auto logits = some_values(1 << 16, 2); // wider than any hidden
  BOOST_TEST((verdict(bytes_of(encode(sum_frame{1, 1, 1 << 16, wire_type::f32, 0, 0, {}},
                                      logits))) == ec::none));
}

BOOST_AUTO_TEST_CASE(an_outlier_spoils_its_group_of_64_only) {
  auto values = some_values(192, 4);
  values[70] = 1000;
  auto got = decode_sum(bytes_of(encode(sum_frame{1, 1, 192, wire_type::int8, 0, 0, {}}, values)));
  BOOST_REQUIRE(got.ok());
  check_close(wire_type::int8, values, got->values, 192);
  BOOST_TEST(std::abs(got->values[10] - values[10]) < 0.02f);
}

BOOST_AUTO_TEST_CASE(what_is_beyond_f16_goes_as_f32) {
  std::vector<float> values{1.0f, 65519.0f, -70000.0f};
  auto got = decode_sum(bytes_of(encode(sum_frame{1, 1, 3, wire_type::f16, 0, 0, {}}, values)));
  BOOST_REQUIRE(got.ok());
  BOOST_TEST((got->wire == wire_type::f32));
  BOOST_TEST(got->values == values);
  auto dispatch =
      decode_dispatch(bytes_of(encode(some_head(wire_type::f16, 1, 3), values,
                                      std::vector<expert_part>{{expert_id{1}, {0}, {1}}})));
  BOOST_REQUIRE(dispatch.ok());
  BOOST_TEST((dispatch->head.wire == wire_type::f32));
  BOOST_TEST(dispatch->activations == values);
}

BOOST_AUTO_TEST_CASE(int8_of_zeros_and_of_the_tiniest) {
  std::vector<float> values(128, 0.0f);
  values[100] = std::numeric_limits<float>::denorm_min();
  auto got = decode_sum(bytes_of(encode(sum_frame{1, 1, 128, wire_type::int8, 0, 0, {}}, values)));
  BOOST_REQUIRE(got.ok());
  for (float value : got->values)
    BOOST_TEST(value == 0.0f);
}

BOOST_AUTO_TEST_CASE(what_is_not_a_number_is_refused) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  for (auto wire : {wire_type::f32, wire_type::f16, wire_type::int8})
    for (float bad : {inf, -inf, std::numeric_limits<float>::quiet_NaN()}) {
      auto values = some_values(100, 6);
      values[99] = bad;
      BOOST_TEST((verdict(bytes_of(encode(sum_frame{1, 1, 100, wire, 0, 0, {}}, values))) ==
                  ec::bad_argument));
      std::vector<expert_part> parts{{expert_id{1}, {0}, {bad}}};
      BOOST_TEST((verdict(bytes_of(encode(some_head(wire, 1, 100), some_values(100, 6), parts))) ==
                  ec::bad_argument));
    }
}

BOOST_AUTO_TEST_CASE(control_frames) {
  auto greeting = decode_greeting(bytes_of(encode(some_greeting())));
  BOOST_REQUIRE(greeting.ok());
  BOOST_TEST(greeting->version == link_protocol_version);
  BOOST_TEST(greeting->nonce == 1u);
  BOOST_TEST(greeting->echo == 2u);
  BOOST_TEST(greeting->boot == 3u);
  BOOST_TEST(greeting->link_port == 7420u);
  BOOST_TEST(greeting->link_address == "10.0.0.7");
  BOOST_TEST(greeting->name == "küche");
  BOOST_TEST(greeting->build == "0.1.0");
  BOOST_REQUIRE(greeting->models.size() == 2u);
  BOOST_TEST(greeting->models[1].name == "olmoe");
  BOOST_TEST((greeting->models[1].hash == some_hash(2)));
  auto failure = decode_failure(bytes_of(encode(failure_frame{4, {ec::expert_not_here, "moved"}})));
  BOOST_REQUIRE(failure.ok());
  BOOST_TEST(failure->id == 4u);
  BOOST_TEST((failure->why.code == ec::expert_not_here));
  BOOST_TEST(failure->why.message == "moved");
  auto refusal = decode_refusal(bytes_of(encode(refusal_frame{8, {ec::unsupported, "no"}})));
  BOOST_REQUIRE(refusal.ok());
  BOOST_TEST(refusal->echo == 8u);
  BOOST_TEST((refusal->why.code == ec::unsupported));
  for (auto kind : {link_frame_kind::ping, link_frame_kind::pong}) {
    auto frame = bytes_of(encode(kind, ping_frame{11, 12}));
    BOOST_TEST((kind_of(frame) == kind));
    auto ping = decode_ping(frame);
    BOOST_REQUIRE(ping.ok());
    BOOST_TEST(ping->id == 11u);
    BOOST_TEST(ping->sent_us == 12u);
  }
  BOOST_TEST(decode_goodbye(bytes_of(encode(goodbye_frame{"stopped"})))->reason == "stopped");
}

BOOST_AUTO_TEST_CASE(bulk_frames) {
  bytes content(1000);
  for (size_t i = 0; i < content.size(); ++i)
    content[i] = static_cast<std::byte>(i * 7);
  BOOST_TEST((decode_record(bytes_of(encode(record_frame{content})))->bytes == content));
  auto block = decode_block(bytes_of(encode(block_frame{5, 5000, {}}, content)));
  BOOST_REQUIRE(block.ok());
  BOOST_TEST(block->id == 5u);
  BOOST_TEST(block->total == 5000u);
  BOOST_TEST((block->bytes == content));
  BOOST_TEST(decode_block(bytes_of(encode(block_frame{5, 0, {}}, {}))).ok());
  auto want = decode_want(bytes_of(encode(want_frame{1, some_hash(5), 2, 4096, max_block_bytes})));
  BOOST_REQUIRE(want.ok());
  BOOST_TEST(want->id == 1u);
  BOOST_TEST((want->model == some_hash(5)));
  BOOST_TEST(want->file == 2u);
  BOOST_TEST(want->offset == 4096u);
  BOOST_TEST(want->length == max_block_bytes);
}

BOOST_AUTO_TEST_CASE(messages_of_guests_come_as_they_were) {
  std::string message("a\0b\xff", 4);
  auto asked = bytes_of(encode(guest_frame{7, message}));
  BOOST_TEST(decode_guest(asked)->id == 7u);
  BOOST_TEST((decode_guest(asked)->message == message));
  auto said = bytes_of(encode(guest_answer_frame{8, message}));
  BOOST_TEST(decode_guest_answer(said)->id == 8u);
  BOOST_TEST((decode_guest_answer(said)->message == message));
  BOOST_TEST((verdict(std::span(asked).first(15)) == ec::bad_frame)); // no whole id
  BOOST_TEST((verdict(with(asked, 4, uint32_t{1})) == ec::bad_frame));
  asked.resize(16 + max_guest_bytes);
  BOOST_TEST(decode_guest(asked).ok());
  asked.resize(asked.size() + 1);
  BOOST_TEST((verdict(asked) == ec::bad_frame));
}

BOOST_AUTO_TEST_CASE(long_texts_are_cut_between_characters) {
  std::string reason = "x";
  for (int i = 0; i < 2000; ++i)
    reason += "ü";
  auto got = decode_goodbye(bytes_of(encode(goodbye_frame{reason})));
  BOOST_REQUIRE(got.ok());
  BOOST_TEST(got->reason == reason.substr(0, 1023));
  BOOST_TEST(decode_goodbye(bytes_of(encode(goodbye_frame{"a\xFFz"})))->reason == "a\xEF\xBF\xBDz");
}

BOOST_AUTO_TEST_CASE(every_truncation_and_every_surplus_byte_is_refused) {
  for (const auto& frame : one_of_each()) {
    BOOST_TEST((verdict(frame) == ec::none));
    for (size_t size = 0; size < frame.size(); ++size)
      BOOST_TEST_REQUIRE((verdict(bytes(frame.begin(), frame.begin() + size)) == ec::bad_frame),
                         "kind " << int(frame[0]) << " cut to " << size);
    auto longer = frame;
    longer.push_back(std::byte{0});
    BOOST_TEST((verdict(longer) == ec::bad_frame));
  }
}

BOOST_AUTO_TEST_CASE(a_greeting_of_another_version_shows_its_version) {
  auto frame = with(bytes_of(encode(some_greeting())), 4, uint16_t{link_protocol_version + 1});
  frame.resize(40); // its remaining fields may be anything
  auto got = decode_greeting(frame);
  BOOST_REQUIRE(got.ok());
  BOOST_TEST(got->version == link_protocol_version + 1);
  BOOST_TEST(got->nonce == 1u);
  BOOST_TEST(got->models.empty());
}

BOOST_AUTO_TEST_CASE(forged_sizes) {
  auto refused = [](const bytes& frame) { BOOST_TEST((verdict(frame) == ec::bad_frame)); };
  auto dispatch =
      bytes_of(encode(some_head(wire_type::f32, 3, 4), some_values(12, 1), two_experts));
  constexpr size_t experts_at = 64 + 12 * 4;
  for (uint32_t size : {0u, 1u, 2u, 4u, 5u, 8193u, 65536u, 0x40000000u, 0x55555556u, 0xffffffffu}) {
    if (size != 4)
      refused(with(dispatch, 56, size)); // hidden
    refused(with(dispatch, 52, size));   // rows
    if (size != 2)
      refused(with(dispatch, experts_at + 4, size)); // rows of an expert
    if (size > 2)
      refused(with(dispatch, experts_at + 8, size)); // a row of an expert
    if (size != 2)
      refused(with(dispatch, 50, static_cast<uint16_t>(size))); // experts
  }
  refused(with(dispatch, 60, uint8_t{3}));              // wire type
  refused(with(dispatch, 61, uint8_t{1}));              // unused
  refused(with(dispatch, experts_at + 2, uint16_t{1})); // unused
  refused(with(dispatch, experts_at + 8, uint32_t{2})); // not rising
  auto block = bytes_of(encode(block_frame{1, 10, {}}, bytes(10)));
  refused(with(block, 16, uint64_t{9}));
  refused(with(block, 16, ~uint64_t{0}));
  block.resize(24 + max_block_bytes + 1);
  refused(with(block, 16, uint64_t{1} << 40));
  auto want = bytes_of(encode(want_frame{1, {}, 2, 4096, 65536}));
  refused(with(want, 16, ~uint64_t{0} - 100));
  refused(with(want, 24, uint32_t{0}));
  refused(with(want, 24, max_block_bytes + 1));
  auto greeting = bytes_of(encode(some_greeting()));
  for (uint16_t size : {0, 1, 7, 9, 256, 65535})
    refused(with(greeting, 32, size)); // of the address
  refused(with(greeting, 34, uint8_t{0xFF}));
  bytes record((256u << 10) + 5);
  std::memcpy(record.data(), bytes_of(encode(record_frame{})).data(), 4);
  refused(record);
  record.pop_back();
  BOOST_TEST((verdict(record) == ec::none));
}

BOOST_AUTO_TEST_CASE(rows_and_widths_are_bounded) {
  // 8192 rows of 4 values are the most rows; one row more is refused before it is read.
  std::vector<float> values(8193 * 4);
  std::vector<expert_part> part{{expert_id{0}, {0}, {1}}};
  auto at = [&](uint32_t rows, uint32_t hidden) {
    auto count = size_t{rows} * hidden;
    values.resize(count);
    return verdict(bytes_of(encode(some_head(wire_type::int8, rows, hidden), values, part)));
  };
  BOOST_TEST((at(8192, 4) == ec::none));
  BOOST_TEST((at(8193, 4) == ec::bad_frame));
  BOOST_TEST((at(1, 32768) == ec::none));
  BOOST_TEST((at(1, 32769) == ec::bad_frame));
  BOOST_TEST((at(2048, 8193) == ec::bad_frame)); // more than 2^24 values
}

BOOST_AUTO_TEST_CASE(strangers_are_of_no_kind) {
  BOOST_TEST(!kind_of({}));
  auto reservation = bytes_of(encode(some_reservation()));
  BOOST_TEST((*decode_reservation(reservation) == some_reservation()));
  for (double wrong : {-1.0, std::numeric_limits<double>::quiet_NaN()})
    BOOST_TEST((verdict(with(reservation, 24, wrong)) == ec::bad_frame));
  BOOST_TEST((verdict(with(reservation, 4, uint32_t{8})) == ec::bad_frame));
  auto drain = bytes_of(encode(drain_frame{}));
  BOOST_TEST((kind_of(drain) == link_frame_kind::drain));
  BOOST_TEST((verdict(drain) == ec::none));
  BOOST_TEST((verdict(with(drain, 4, uint32_t{1})) == ec::bad_frame)); // for later versions
  auto frame = bytes_of(encode(goodbye_frame{}));
  BOOST_TEST((kind_of(frame) == link_frame_kind::goodbye));
  BOOST_TEST(!kind_of(with(frame, 0, uint8_t{22})));
  BOOST_TEST(!kind_of(with(frame, 3, 'l')));
  BOOST_TEST((decode_ping(frame).err().code == ec::bad_frame));
  BOOST_TEST((decode_sum(frame).err().code == ec::bad_frame));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(half)

// Every half, in places where the wide and the plain loop read it, at odd addresses.
BOOST_AUTO_TEST_CASE(there_and_back) {
  std::vector<std::byte> all(1 + 2 * 65536), again(1 + 2 * 65536);
  for (uint32_t i = 0; i < 65536; ++i) {
    auto half = static_cast<uint16_t>(i);
    std::memcpy(all.data() + 1 + 2 * i, &half, 2);
  }
  std::vector<float> wide(65536), plain(65536);
  from_half(all.data() + 1, wide);
  for (uint32_t i = 0; i < 65536; ++i)
    from_half(all.data() + 1 + 2 * i, std::span(plain).subspan(i, 1));
  to_half(wide, again.data() + 1);
  for (uint32_t i = 0; i < 65536; ++i) {
    bool nan = (i & 0x7fffu) > 0x7c00u;
    BOOST_TEST_REQUIRE(std::isnan(wide[i]) == nan);
    BOOST_TEST_REQUIRE(std::isnan(plain[i]) == nan);
    if (nan)
      continue;
    BOOST_TEST_REQUIRE(wide[i] == plain[i]);
    BOOST_TEST_REQUIRE(std::memcmp(all.data() + 1 + 2 * i, again.data() + 1 + 2 * i, 2) == 0);
  }
  BOOST_TEST(wide[0x3c00] == 1.0f);
  BOOST_TEST(wide[0x0001] == 0x1p-24f);
  BOOST_TEST(wide[0xfbff] == -65504.0f);
}

BOOST_AUTO_TEST_CASE(the_wide_and_the_plain_loop_round_alike) {
  std::mt19937 random(5);
  std::vector<float> values(80000);
  for (auto& value : values)
    value =
        std::ldexp(static_cast<float>(random() % 16384 + 1), static_cast<int>(random() % 48) - 40);
  std::vector<std::byte> wide(2 * values.size()), plain(2 * values.size());
  to_half(values, wide.data());
  for (size_t i = 0; i < values.size(); ++i)
    to_half(std::span(values).subspan(i, 1), plain.data() + 2 * i);
  BOOST_TEST((wide == plain));
}

BOOST_AUTO_TEST_SUITE_END()
