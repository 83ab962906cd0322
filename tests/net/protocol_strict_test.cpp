// What is not the protocol is refused with a reason; nothing crashes or allocates without bound.
#include "net/app_protocol.hpp"

#include <boost/test/unit_test.hpp>
#include <msgpack.hpp>

#include <functional>
#include <random>
#include <sys/resource.h>

using namespace coel;
using namespace coel::net;

namespace {

using packer = msgpack::packer<msgpack::sbuffer>;

std::string bytes_of(const std::function<void(packer&)>& write) {
  msgpack::sbuffer buffer;
  packer out(buffer);
  write(out);
  return {buffer.data(), buffer.size()};
}

// An otherwise good request of `op` with one more field.
template <class Value>
std::string with_field(const char* op, const char* name, const Value& value) {
  return bytes_of([&](packer& out) {
    out.pack_map(5);
    out.pack("v"), out.pack(1);
    out.pack("id"), out.pack(42);
    out.pack("op"), out.pack(op);
    out.pack(name), out.pack(value);
    out.pack("no such field"), out.pack(std::vector<int>{1, 2});
  });
}

error refusal(const std::string& frame) {
  auto message = decode_request(frame);
  BOOST_REQUIRE(!message.body.ok());
  return message.body.err();
}

void check_names_field(const std::string& frame, const std::string& field) {
  auto message = decode_request(frame);
  BOOST_REQUIRE_MESSAGE(!message.body.ok(), field);
  BOOST_TEST((message.body.err().code == ec::bad_frame), field);
  BOOST_TEST(message.body.err().message.find("'" + field + "'") != std::string::npos,
             message.body.err().message);
  BOOST_TEST((message.id == 42), field); // so that the client learns which request failed
}

[[maybe_unused]] long peak_kilobytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

} // namespace

BOOST_AUTO_TEST_SUITE(protocol_strict)

BOOST_AUTO_TEST_CASE(unknown_fields_are_ignored) {
  auto message = decode_request(with_field("generate", "prompt", "x"));
  BOOST_REQUIRE(message.body.ok());
  BOOST_TEST(std::get<generate_request>(*message.body).prompt == "x");
}

BOOST_AUTO_TEST_CASE(wrong_types_are_named) {
  std::vector<std::string> texts{"a"};
  check_names_field(with_field("generate", "prompt", 5), "prompt");
  check_names_field(with_field("generate", "prompt", std::string("\xFF")), "prompt");
  check_names_field(with_field("generate", "tokens", texts), "tokens");
  check_names_field(with_field("generate", "tokens", std::vector<int>{1, -1}), "tokens");
  check_names_field(with_field("generate", "tokens", std::vector<uint64_t>{1ull << 31}), "tokens");
  check_names_field(with_field("generate", "tokens", std::vector<float>{1.5f}), "tokens");
  check_names_field(with_field("chat", "messages", "hello"), "messages");
  check_names_field(with_field("chat", "messages", texts), "messages");
  check_names_field(with_field("chat", "prompt", "x"), "messages");
  check_names_field(with_field("tokenize", "text", true), "text");
  check_names_field(with_field("tokenize", "special", 1), "text");
  check_names_field(with_field("detokenize", "tokens", 1), "tokens");
  check_names_field(with_field("cancel", "target", -1), "target");
  check_names_field(with_field("cancel", "target", 1.5), "target");
  check_names_field(with_field("inspect", "what", 1), "what");
  check_names_field(with_field("no such op", "x", 1), "op");
}

BOOST_AUTO_TEST_CASE(wrong_types_of_options_are_named) {
  auto generate = [](const char* name, auto value) {
    return bytes_of([&](packer& out) {
      out.pack_map(5);
      out.pack("v"), out.pack(1);
      out.pack("id"), out.pack(42);
      out.pack("op"), out.pack("generate");
      out.pack("prompt"), out.pack("x");
      out.pack(name), out.pack(value);
    });
  };
  for (const char* name :
       {"max_tokens", "deadline_ms", "top_k", "repeat_last_n", "seed", "logprobs"}) {
    check_names_field(generate(name, "5"), name);
    check_names_field(generate(name, -1), name);
  }
  check_names_field(generate("max_tokens", 1ull << 32), "max_tokens");
  check_names_field(generate("answered", "text"), "answered");
  check_names_field(generate("answered", 7), "answered");
  check_names_field(generate("answered", std::vector<int>{1, -1}), "answered");
  BOOST_TEST(decode_request(generate("answered", std::vector<int>{})).body.ok());
  for (const char* name : {"temperature", "top_p", "min_p", "repeat_penalty"}) {
    check_names_field(generate(name, "1"), name);
    BOOST_TEST(decode_request(generate(name, 1)).body.ok());     // an integer is a number
    BOOST_TEST(decode_request(generate(name, 1e300)).body.ok()); // too large for float: infinity
  }
  for (const char* name : {"ignore_end", "stream"})
    check_names_field(generate(name, 1), name);
  check_names_field(generate("model", std::string(max_name_bytes + 1, 'm')), "model");
  check_names_field(generate("stop", "x"), "stop");
  check_names_field(generate("stop", std::vector<std::string>(max_stop_strings + 1, "x")), "stop");
  check_names_field(
      generate("stop", std::vector<std::string>{std::string(max_stop_bytes + 1, 'x')}), "stop");
  check_names_field(generate("stop", std::vector<std::string>{""}), "stop");
}

BOOST_AUTO_TEST_CASE(envelope) {
  auto frame = [](int version, bool id, bool op) {
    return bytes_of([&](packer& out) {
      out.pack_map(1u + id + op);
      out.pack("v"), out.pack(version);
      if (id)
        out.pack("id"), out.pack(42);
      if (op)
        out.pack("op"), out.pack("status");
    });
  };
  BOOST_TEST(decode_request(frame(1, true, true)).body.ok());
  auto version = decode_request(frame(2, true, true));
  BOOST_TEST((version.body.err().code == ec::version_mismatch));
  BOOST_TEST(version.body.err().message.find("version 1") != std::string::npos);
  BOOST_TEST((version.id == 42));
  auto no_id = decode_request(frame(1, false, true));
  BOOST_TEST(!no_id.id);
  BOOST_TEST(no_id.body.err().message.find("'id'") != std::string::npos);
  check_names_field(frame(1, true, false), "op");
}

BOOST_AUTO_TEST_CASE(fields_that_exclude_or_need_each_other) {
  auto both = bytes_of([](packer& out) {
    out.pack_map(5);
    out.pack("v"), out.pack(1);
    out.pack("id"), out.pack(42);
    out.pack("op"), out.pack("generate");
    out.pack("prompt"), out.pack("x");
    out.pack("tokens"), out.pack(std::vector<int>{1});
  });
  BOOST_TEST((refusal(both).code == ec::bad_argument));
  BOOST_TEST((refusal(with_field("generate", "seed", 1)).code == ec::bad_argument));
  BOOST_TEST((refusal(with_field("score", "model", "m")).code == ec::bad_argument));
  BOOST_TEST(
      (refusal(with_field("generate", "tokens", std::vector<int>{})).code == ec::bad_argument));
  BOOST_TEST(
      (refusal(with_field("chat", "messages", std::vector<int>{})).code == ec::bad_argument));
}

BOOST_AUTO_TEST_CASE(not_a_map_or_not_all_of_it) {
  BOOST_TEST((refusal("").code == ec::bad_frame));
  BOOST_TEST((refusal("\xC1").code == ec::bad_frame));
  BOOST_TEST((refusal(bytes_of([](packer& out) { out.pack(5); })).code == ec::bad_frame));
  auto good = encode(1, app_request(inspect_request{}));
  BOOST_TEST((refusal(good + "x").code == ec::bad_frame));
  for (size_t length = 0; length < good.size(); ++length)
    BOOST_TEST((refusal(good.substr(0, length)).code == ec::bad_frame), length);
  BOOST_TEST((refusal(std::string(max_request_bytes + 1, '\x80')).code == ec::too_long));
}

// Headers that promise thousands of millions of elements, deep nests, and frames full of small
// elements, each of which msgpack would give 24 bytes or more.
BOOST_AUTO_TEST_CASE(bombs_do_not_go_off) {
  [[maybe_unused]] auto before = peak_kilobytes();
  std::string arrays, maps;
  for (int i = 0; i < 1000; ++i) {
    arrays += "\xDD\xFF\xFF\xFF\xFF";
    maps += "\xDF\xFF\xFF\xFF\xFF";
  }
  std::string deep(max_request_bytes / 2, '\x91');
  std::string nested_maps(max_request_bytes / 2, '\x81');
  std::string full = "\xDD";
  for (int shift : {24, 16, 8, 0})
    full += static_cast<char>((max_request_bytes - 5) >> shift & 0xFF);
  full.resize(max_request_bytes, '\x00');
  std::string halves; // arrays of the largest size that a frame of this length could hold
  while (halves.size() + 5 < 1000)
    halves += std::string("\xDD\x00\x0F\x00\x00", 5);
  halves.resize(max_request_bytes, '\x00');
  for (const auto& bomb : {arrays, maps, deep, nested_maps, full, halves}) {
    BOOST_TEST((refusal(bomb).code == ec::bad_frame));
    BOOST_TEST(!decode_reply(bomb).body.ok());
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  BOOST_TEST(peak_kilobytes() - before < 128 * 1024);
#endif
}

// Seeded noise: random bytes, and good messages with a few bytes changed.
BOOST_AUTO_TEST_CASE(noise) {
  std::mt19937 random(20250107);
  generate_request generate;
  generate.messages = {{"user", "hello"}};
  generate.sampling.stop = {"x", "y"};
  const std::vector<std::string> good = {
      encode(1, app_request(generate)),
      encode(2, app_request(score_request{"m", "", {1, 2, 3}, 0})),
      encode(3, app_reply(token_reply{1, "t", -1, {{1, -1}, {2, -2}}})),
      encode(4, app_reply(score_reply{{1, 2}, {-1}}))};
  size_t refused = 0, read = 0;
  for (int round = 0; round < 40000; ++round) {
    std::string frame;
    if (round % 2 == 0) {
      frame.resize(random() % 64);
      for (auto& c : frame)
        c = static_cast<char>(random());
    } else {
      frame = good[random() % good.size()];
      for (auto changes = 1 + random() % 3; changes > 0; --changes)
        frame[random() % frame.size()] = static_cast<char>(random());
    }
    auto request = decode_request(frame);
    auto reply = decode_reply(frame);
    for (bool ok : {request.body.ok(), reply.body.ok()})
      ++(ok ? read : refused);
    if (request.body.ok()) // what was read can be written and read again
      BOOST_TEST(decode_request(encode(1, *request.body)).body.ok());
    if (reply.body.ok())
      BOOST_TEST(decode_reply(encode(1, *reply.body)).body.ok());
  }
  BOOST_TEST(refused > 40000u);
  BOOST_TEST(read > 1000u);
}

BOOST_AUTO_TEST_SUITE_END()
