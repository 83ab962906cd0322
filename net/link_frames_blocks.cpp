// Parts of model files.
#include "net/link_bytes.hpp"

#include <algorithm>

namespace coel::net {

namespace {

constexpr size_t block_head_bytes = frame_head_bytes + 4 + 2 * sizeof(uint64_t);
constexpr uint64_t max_file_bytes = uint64_t{1} << 62; // so that sums of two do not overflow

} // namespace

zmq::message_t encode(const want_frame& frame) {
  frame_writer out(link_frame_kind::want);
  out.put(frame.file).put(frame.id).put(frame.offset).put(frame.length).put(frame.model);
  return out.message();
}

result<want_frame> decode_want(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::want);
  want_frame out;
  in.get(out.file, "file").get(out.id, "id").get(out.offset, "offset");
  in.require(out.offset <= max_file_bytes, "offset");
  in.get(out.length, "length").require(out.length > 0 && out.length <= max_block_bytes, "length");
  in.get(out.model, "model");
  if (auto problem = in.finish())
    return *problem;
  return out;
}

zmq::message_t encode(const block_frame& head, std::span<const std::byte> bytes) {
  assert(bytes.size() <= max_block_bytes && bytes.size() <= head.total);
  frame_writer fixed(link_frame_kind::block);
  fixed.put(uint32_t{0}).put(head.id).put(head.total);
  zmq::message_t out(fixed.view().size() + bytes.size());
  std::memcpy(out.data(), fixed.view().data(), fixed.view().size());
  std::copy(bytes.begin(), bytes.end(), out.data<std::byte>() + fixed.view().size());
  return out;
}

result<block_frame> decode_block(std::span<const std::byte> frame) {
  frame_reader in(frame, link_frame_kind::block);
  block_frame out;
  in.require(frame.size() <= block_head_bytes + max_block_bytes, "a block has at most 1 MiB");
  in.unused(4).get(out.id, "id").get(out.total, "total");
  in.require(out.total <= max_file_bytes && in.left() <= out.total, "total");
  auto bytes = in.take(in.left(), "block");
  if (auto problem = in.finish())
    return *problem;
  out.bytes.assign(bytes.begin(), bytes.end());
  return out;
}

} // namespace coel::net
