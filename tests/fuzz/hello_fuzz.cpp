// A datagram as an OLSR packet. What is read must survive being written again, in no more bytes.
#include "net/hello.hpp"
#include "tests/fuzz/memory_file.hpp"

using namespace coel;
using coel::fuzz::require;

namespace {

size_t links(const net::hello_packet& packet) {
  size_t count = 0;
  for (const auto& hello : packet.hellos)
    count += hello.links.size();
  return count;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto packet = net::decode_packet({data, size});
  if (!packet.ok())
    return 0;
  require(16 * packet->hellos.size() + 4 * links(*packet) <= size); // memory follows the input
  auto bytes = net::encode_packet(*packet, size);
  require(bytes.ok() == !packet->hellos.empty() || size > 65507);
  if (!bytes.ok())
    return 0;
  require(bytes->size() <= size);
  auto again = net::decode_packet(*bytes);
  require(again.ok() && again->skipped == 0 && links(*again) == links(*packet));
  auto same = net::encode_packet(*again, size);
  require(same.ok() && *same == *bytes);
  return 0;
}
