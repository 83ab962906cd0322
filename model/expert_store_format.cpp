#include "model/expert_store_format.hpp"

#include "model/direct_file.hpp"
#include "model/manifest_io.hpp"

#include <algorithm>
#include <cstring>
#include <fcntl.h>

namespace coel::model {

namespace {

constexpr std::string_view magic = "COELEXPS";
constexpr uint32_t version = 1;
constexpr uint32_t most_experts = 1u << 20, longest_layout = 256;
constexpr uint64_t page = direct_file::alignment;
constexpr std::array matrices{role::expert_gate, role::expert_up, role::expert_down};

uint64_t rounded(uint64_t bytes, uint64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

template <class Number>
void put(std::vector<std::byte>& to, Number n) {
  auto at = to.size();
  to.resize(at + sizeof n);
  std::memcpy(to.data() + at, &n, sizeof n);
}

/// Zeros past the end, which the caller looks for.
class taker {
 public:
  explicit taker(std::span<const std::byte> from) : left_(from) {}
  template <class Number>
  Number number() {
    Number n{};
    raw(&n, sizeof n);
    return n;
  }
  void raw(void* to, size_t bytes) {
    if (bytes > left_.size()) {
      short_ = true;
      left_ = {};
      return;
    }
    std::memcpy(to, left_.data(), bytes);
    left_ = left_.subspan(bytes);
  }
  bool ended() const { return short_; }
  size_t left() const { return left_.size(); }

 private:
  std::span<const std::byte> left_;
  bool short_ = false;
};

error damaged() {
  return {ec::bad_file, "the store is damaged: write it again with coel pack"};
}

/// The length of what stands before the padding.
uint64_t content_bytes(size_t layout, size_t experts) {
  return store_prefix + 2 + layout + 8 + sizeof(sha256) + 8 + experts * 24 + sizeof(sha256);
}

} // namespace

uint64_t store_header::encoded_bytes() const {
  return rounded(content_bytes(layout.size(), index.size()), page);
}

std::vector<std::byte> store_header::encode() const {
  std::vector<std::byte> out;
  out.reserve(encoded_bytes());
  for (char c : magic)
    put(out, c);
  put(out, version);
  put(out, static_cast<uint32_t>(encoded_bytes()));
  put(out, static_cast<uint16_t>(layout.size()));
  for (char c : layout)
    put(out, c);
  put(out, source_bytes);
  out.insert(out.end(), source_sample.begin(), source_sample.end());
  put(out, layers);
  put(out, experts);
  for (const auto& e : index) {
    put(out, e.offset);
    put(out, e.bytes);
    put(out, e.checksum);
  }
  auto digest = sha256_of(out);
  out.insert(out.end(), digest.begin(), digest.end());
  out.resize(encoded_bytes());
  return out;
}

result<uint64_t> store_header_bytes(std::span<const std::byte> prefix) {
  taker in(prefix);
  char name[magic.size()];
  in.raw(name, sizeof name);
  if (in.ended() || std::string_view(name, sizeof name) != magic)
    return {ec::bad_file, "is no store of experts: coel pack writes one"};
  if (auto got = in.number<uint32_t>(); got != version)
    return {ec::unsupported, "is a store of version " + std::to_string(got) + ", this build reads " +
                                 std::to_string(version) + ": write it again with coel pack"};
  uint64_t bytes = in.number<uint32_t>();
  if (bytes == 0 || bytes % page != 0 ||
      bytes > rounded(content_bytes(longest_layout, most_experts), page))
    return damaged();
  return bytes;
}

result<store_header> store_header::decode(std::span<const std::byte> bytes) {
  auto size = store_header_bytes(bytes.first(std::min(bytes.size(), store_prefix)));
  if (!size)
    return size.err();
  if (bytes.size() < *size)
    return damaged();
  taker in(bytes.subspan(store_prefix));
  store_header h;
  h.layout.resize(std::min<size_t>(in.number<uint16_t>(), longest_layout));
  in.raw(h.layout.data(), h.layout.size());
  h.source_bytes = in.number<uint64_t>();
  in.raw(h.source_sample.data(), h.source_sample.size());
  h.layers = in.number<uint32_t>();
  h.experts = in.number<uint32_t>();
  auto count = uint64_t{h.layers} * h.experts;
  if (in.ended() || count > most_experts || count * 24 + sizeof(sha256) > in.left())
    return damaged();
  h.index.resize(count);
  for (auto& e : h.index) {
    e.offset = in.number<uint64_t>();
    e.bytes = in.number<uint64_t>();
    e.checksum = in.number<uint64_t>();
  }
  sha256 digest{};
  in.raw(digest.data(), digest.size());
  auto covered = content_bytes(h.layout.size(), h.index.size()) - sizeof digest;
  if (in.ended() || h.encoded_bytes() != *size || digest != sha256_of(bytes.first(covered)))
    return damaged();
  return h;
}

result<store_places> places_of(const source& of, const compute::kept_layout& layout,
                               expert_key key) {
  store_places p;
  for (size_t i = 0; i < matrices.size(); ++i) {
    auto view = of.matrix({matrices[i], key.layer, key.expert});
    if (!view)
      return view.err();
    p.offsets[i] = rounded(p.bytes, compute::kept_layout::alignment);
    p.bytes = p.offsets[i] + layout.bytes(*view);
    p.matrices[i] = *view;
  }
  p.bytes = rounded(p.bytes, page);
  return p;
}

result<sha256> sample_of(const source& of) {
  std::vector<file_handle> files;
  std::vector<std::byte> seen;
  for (const auto& path : of.info().files) {
    auto file = file_handle::open_to_read(path);
    if (!file)
      return file.err();
    auto about = file->about();
    if (!about)
      return about.err();
    put(seen, static_cast<uint64_t>(about->st_size));
    ::posix_fadvise(file->descriptor(), 0, 0, POSIX_FADV_RANDOM); // no read-ahead
    files.push_back(std::move(*file));
  }
  const auto& c = of.config();
  std::array<std::byte, page> part;
  for (uint32_t l = 0; l < c.layers; ++l)
    for (uint32_t e = 0; e < c.experts; ++e) {
      auto view = of.matrix(
          {matrices[(l + e) % matrices.size()], static_cast<layer_id>(l), static_cast<expert_id>(e)});
      if (!view)
        return view.err();
      auto at = of.extent(*view);
      if (!at)
        return at.err();
      for (uint64_t n : {uint64_t{l}, uint64_t{e}, view->rows, view->cols,
                         static_cast<uint64_t>(view->type)})
        put(seen, n);
      auto bytes = std::min<uint64_t>(part.size(), view->bytes());
      auto skip = (view->bytes() - bytes) / 64 * ((l * 31 + e * 17) % 64); // not always its start
      auto piece = std::span(part).first(bytes);
      if (auto ok = files[at->file].read_at(at->offset + skip, piece); !ok)
        return ok.err();
      seen.insert(seen.end(), piece.begin(), piece.end());
    }
  for (const auto& f : files)
    ::posix_fadvise(f.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  return sha256_of(seen);
}

} // namespace coel::model
