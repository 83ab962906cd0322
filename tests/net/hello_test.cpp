// HELLO packets against bytes drawn by hand from the figures of RFC 3626, and over random ones.
#include "net/hello.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>

using namespace coel;
using namespace coel::net;
using namespace std::chrono_literals;
using bytes = std::vector<uint8_t>;

namespace {

constexpr ipv4_address host(uint8_t last) {
  return 0x0a000000u | last;
}

// The figures of sections 3.3 and 6.1, a line of 32 bits each.
const bytes three_neighbours{
    0x00, 0x2c, 0x12, 0x34, // packet length 44, packet sequence number
    0x01, 0x86, 0x00, 0x28, // HELLO, Vtime 6 s, message size 40
    0x0a, 0x00, 0x00, 0x01, // originator 10.0.0.1
    0x01, 0x00, 0xab, 0xcd, // TTL 1, hop count 0, message sequence number
    0xb7, 0xe4, 0x05, 0x00, // compute 55 %, memory 100 %; Htime 2 s; willingness 0
    0x01, 0x00, 0x00, 0x08, // link code: not neighbour, asymmetric; 8 bytes
    0x0a, 0x00, 0x00, 0x02, //
    0x03, 0x00, 0x00, 0x08, // not neighbour, lost
    0x0a, 0x00, 0x00, 0x04, //
    0x06, 0x00, 0x00, 0x08, // symmetric neighbour, symmetric link
    0x0a, 0x00, 0x00, 0x03, //
};

hello_packet three_neighbours_packet() {
  hello_message hello;
  hello.originator = host(1);
  hello.sequence = 0xabcd;
  hello.compute = 0x80 | 55;
  hello.memory = 0x80 | 100;
  hello.links = {{host(2), link_type::asymmetric, neighbour_type::not_neighbour},
                 {host(4), link_type::lost, neighbour_type::not_neighbour},
                 {host(3), link_type::symmetric, neighbour_type::symmetric}};
  return {0x1234, {hello}, 0};
}

// As a plain OLSR daemon sends them: reserved zero, willingness 3, Vtime 20 s, two messages.
const bytes plain_daemon{
    0x00, 0x3c, 0x00, 0x07,                         // 60 bytes
    0x02, 0xe8, 0x00, 0x14,                         // TC, Vtime 30 s, 20 bytes
    0xc0, 0xa8, 0x01, 0x09, 0xff, 0x00, 0x00, 0x11, // TTL 255
    0x00, 0x05, 0x00, 0x00, 0xc0, 0xa8, 0x01, 0x0a, // ANSN 5, one neighbour
    0x01, 0x48, 0x00, 0x24,                         // HELLO, Vtime 20 s, 36 bytes
    0xc0, 0xa8, 0x01, 0x09, 0x01, 0x00, 0x00, 0x12, //
    0x00, 0x00, 0x05, 0x03,                         // reserved 0, Htime 2 s, willingness 3
    0x0a, 0x00, 0x00, 0x0c,                         // MPR, symmetric link: two addresses
    0xc0, 0xa8, 0x01, 0x0a, 0xc0, 0xa8, 0x01, 0x0b, //
    0x04, 0x00, 0x00, 0x08, // symmetric neighbour by another interface: unspecified link
    0xc0, 0xa8, 0x01, 0x0c, //
};

hello_packet random_packet(std::mt19937& random) {
  hello_packet packet;
  packet.sequence = static_cast<uint16_t>(random());
  packet.hellos.resize(random() % 3 + 1);
  for (auto& hello : packet.hellos) {
    hello.originator = random();
    hello.sequence = static_cast<uint16_t>(random());
    hello.validity = decode_time(static_cast<uint8_t>(random()));
    hello.interval = decode_time(static_cast<uint8_t>(random()));
    hello.compute = static_cast<uint8_t>(random());
    hello.memory = static_cast<uint8_t>(random());
    hello.willingness = static_cast<uint8_t>(random() % 8);
    for (auto n = random() % 20; n > 0; --n) {
      auto neighbour = neighbour_type{static_cast<uint8_t>(random() % 3)};
      auto link = link_type{static_cast<uint8_t>(random() % 4)};
      if (link == link_type::symmetric && neighbour == neighbour_type::not_neighbour)
        link = link_type::lost;
      hello.links.push_back({static_cast<uint32_t>(random()), link, neighbour});
    }
    std::stable_sort(hello.links.begin(), hello.links.end(), [](const auto& a, const auto& b) {
      return std::pair(a.neighbour, a.link) < std::pair(b.neighbour, b.link);
    });
  }
  return packet;
}

/// The last link message gets `size` for its size field.
bytes with_link_size(uint16_t size) {
  auto frame = three_neighbours;
  frame[38] = static_cast<uint8_t>(size >> 8);
  frame[39] = static_cast<uint8_t>(size);
  return frame;
}

bool is_refused(const bytes& frame) {
  auto packet = decode_packet(frame);
  return !packet.ok() && packet.err().code == ec::bad_frame && !packet.err().message.empty();
}

} // namespace

BOOST_AUTO_TEST_SUITE(hello)

BOOST_AUTO_TEST_CASE(a_packet_has_the_bytes_of_the_figures) {
  auto encoded = encode_packet(three_neighbours_packet());
  BOOST_REQUIRE(encoded.ok());
  BOOST_TEST(*encoded == three_neighbours, boost::test_tools::per_element());
  auto decoded = decode_packet(three_neighbours);
  BOOST_REQUIRE(decoded.ok());
  BOOST_TEST(decoded->sequence == 0x1234);
  BOOST_TEST((decoded->hellos == three_neighbours_packet().hellos));
  BOOST_TEST(decoded->skipped == 0u);
}

BOOST_AUTO_TEST_CASE(the_least_packet_has_twenty_bytes) {
  hello_packet packet{1, {hello_message{}}, 0};
  packet.hellos[0].originator = host(9);
  packet.hellos[0].willingness = 3;
  auto encoded = encode_packet(packet);
  BOOST_REQUIRE(encoded.ok());
  BOOST_TEST(*encoded == (bytes{0, 20, 0, 1, 1, 0x86, 0, 16, 10, 0, 0, 9, 1, 0, 0, 0, 0, 0, 5, 3}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_plain_daemon_is_understood) {
  auto decoded = decode_packet(plain_daemon);
  BOOST_REQUIRE(decoded.ok());
  BOOST_TEST(decoded->skipped == 1u); // the topology message
  BOOST_REQUIRE_EQUAL(decoded->hellos.size(), 1u);
  const auto& hello = decoded->hellos[0];
  BOOST_TEST(hello.originator == 0xc0a80109);
  BOOST_TEST(hello.sequence == 0x12);
  BOOST_TEST((hello.validity == 20s));
  BOOST_TEST((hello.interval == 2s));
  BOOST_TEST(hello.compute == 0);
  BOOST_TEST(hello.memory == 0);
  BOOST_TEST(hello.willingness == 3);
  using n = neighbour_type;
  BOOST_TEST((hello.links ==
              std::vector<hello_link>{{0xc0a8010a, link_type::symmetric, n::multipoint_relay},
                                      {0xc0a8010b, link_type::symmetric, n::multipoint_relay},
                                      {0xc0a8010c, link_type::unspecified, n::symmetric}}));
}

BOOST_AUTO_TEST_CASE(times_are_those_of_the_rfc_and_of_every_byte) {
  for (auto [time, byte] : {std::pair{2s, 0x05}, {6s, 0x86}, {15s, 0xe7}, {30s, 0xe8}}) {
    BOOST_TEST(encode_time(time) == byte);
    BOOST_TEST((decode_time(static_cast<uint8_t>(byte)) == time));
  }
  BOOST_TEST((decode_time(0x00) == 62500us));
  BOOST_TEST((decode_time(0xff) == 3968s));
  for (int byte = 0; byte < 256; ++byte)
    BOOST_TEST(encode_time(decode_time(static_cast<uint8_t>(byte))) == byte);
}

BOOST_AUTO_TEST_CASE(times_are_rounded_up_and_kept_in_range) {
  BOOST_TEST(encode_time(-5s) == 0x00);
  BOOST_TEST(encode_time(0s) == 0x00);
  BOOST_TEST(encode_time(10000s) == 0xff);
  BOOST_TEST(encode_time(std::chrono::microseconds::max()) == 0xff);
  BOOST_TEST(encode_time(124999us) == 0x01); // a mantissa of 16 becomes the next exponent
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::chrono::microseconds time(random() % 3'968'000'000u);
    BOOST_TEST_CONTEXT("seed 1, draw " << i << ", " << time.count() << " us") {
      auto got = decode_time(encode_time(time));
      BOOST_TEST((got + 1us >= time)); // decode_time rounds down
      BOOST_TEST((got <= std::max<std::chrono::microseconds>(62500us, time + time / 16 + 1us)));
    }
  }
}

BOOST_AUTO_TEST_CASE(random_packets_come_back_as_they_were) {
  for (uint32_t seed = 1; seed <= 500; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      auto packet = random_packet(random);
      auto encoded = encode_packet(packet);
      BOOST_REQUIRE(encoded.ok());
      auto decoded = decode_packet(*encoded);
      BOOST_REQUIRE(decoded.ok());
      BOOST_TEST(decoded->sequence == packet.sequence);
      BOOST_TEST((decoded->hellos == packet.hellos));
    }
}

BOOST_AUTO_TEST_CASE(a_packet_cut_anywhere_is_refused) {
  for (const auto& whole : {three_neighbours, plain_daemon})
    for (size_t size = 0; size < whole.size(); ++size)
      BOOST_TEST_CONTEXT(size << " of " << whole.size() << " bytes") {
        bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        BOOST_TEST(is_refused(cut));
        if (size < 4)
          continue;
        cut[1] = static_cast<uint8_t>(size); // the length agrees, what is inside does not
        bool ends_between_messages = size == 24 && whole == plain_daemon;
        BOOST_TEST(is_refused(cut) != ends_between_messages);
      }
}

BOOST_AUTO_TEST_CASE(sizes_that_lie_are_refused) {
  for (uint16_t size : {0, 3, 5, 7, 9, 12, 0xffff})
    BOOST_TEST(is_refused(with_link_size(size)), "link message size " << size);
  BOOST_TEST(is_refused(with_link_size(4))); // the address becomes a link message of 3 bytes
  for (uint8_t size : {0, 11, 12, 15, 17, 39, 41, 255}) {
    auto frame = three_neighbours;
    frame[7] = size;
    BOOST_TEST(is_refused(frame), "message size " << int{size});
  }
  auto longer = three_neighbours;
  longer.push_back(0);
  BOOST_TEST(is_refused(longer));
}

BOOST_AUTO_TEST_CASE(link_codes_without_a_meaning_are_skipped) {
  for (int code : {0x02, 0x0c, 0x0f, 0x10, 0x16, 0xff})
    BOOST_TEST_CONTEXT("code " << code) {
      auto frame = three_neighbours;
      frame[20] = static_cast<uint8_t>(code);
      auto decoded = decode_packet(frame);
      BOOST_REQUIRE(decoded.ok());
      BOOST_TEST(decoded->skipped == 1u);
      BOOST_REQUIRE_EQUAL(decoded->hellos.size(), 1u);
      BOOST_TEST(decoded->hellos[0].links.size() == 2u);
    }
}

BOOST_AUTO_TEST_CASE(what_was_forwarded_or_is_of_another_type_is_skipped) {
  for (auto [at, value] : {std::pair{4, 201}, {4, 0}, {12, 0}, {13, 1}})
    BOOST_TEST_CONTEXT("byte " << at << " = " << value) {
      auto frame = three_neighbours;
      frame[static_cast<size_t>(at)] = static_cast<uint8_t>(value);
      auto decoded = decode_packet(frame);
      BOOST_REQUIRE(decoded.ok());
      BOOST_TEST(decoded->hellos.empty());
      BOOST_TEST(decoded->skipped == 1u);
    }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_said_is_an_error) {
  BOOST_TEST((encode_packet({}).err().code == ec::bad_argument));
  auto packet = three_neighbours_packet();
  BOOST_TEST((encode_packet(packet, 43).err().code == ec::too_long));
  BOOST_TEST(encode_packet(packet, 44).ok());
  packet.hellos[0].links[2].neighbour = neighbour_type::not_neighbour;
  BOOST_TEST((encode_packet(packet).err().code == ec::bad_argument));
  packet.hellos[0].links.assign(17000, {host(2), link_type::lost, neighbour_type::not_neighbour});
  BOOST_TEST((encode_packet(packet, 1u << 20).err().code == ec::too_long));
}

BOOST_AUTO_TEST_CASE(damaged_packets_never_crash_and_what_is_read_can_be_written) {
  for (uint32_t seed = 1; seed <= 20000; ++seed) {
    std::mt19937 random(seed);
    auto frame = *encode_packet(random_packet(random));
    for (auto n = random() % 4 + 1; n > 0; --n)
      frame[random() % frame.size()] = static_cast<uint8_t>(random());
    auto decoded = decode_packet(frame);
    if (decoded.ok() && !decoded->hellos.empty() && !encode_packet(*decoded, frame.size()).ok())
      BOOST_ERROR("seed " << seed);
  }
}

BOOST_AUTO_TEST_SUITE_END()
