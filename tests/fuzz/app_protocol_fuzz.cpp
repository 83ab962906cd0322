// Bytes of a socket as a request and as a reply. What is read must survive being written again.
#include "net/app_protocol.hpp"

#include <cstdlib>

using namespace coel::net;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view frame(reinterpret_cast<const char*>(data), size);
  auto request = decode_request(frame);
  if (request.body.ok()) {
    auto bytes = encode(*request.id, *request.body);
    auto again = decode_request(bytes);
    if (!again.body.ok() || again.id != request.id || encode(*again.id, *again.body) != bytes)
      std::abort();
  }
  auto reply = decode_reply(frame);
  if (reply.body.ok()) {
    auto bytes = encode(*reply.id, *reply.body);
    auto again = decode_reply(bytes);
    if (!again.body.ok() || again.id != reply.id || encode(*again.id, *again.body) != bytes)
      std::abort();
  }
  return 0;
}
