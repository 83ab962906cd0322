#include "model/manifest.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace coel::model {

namespace {

// Far above any real model, far below what would exhaust a disk's metadata or a node's memory.
constexpr uint32_t max_files = 4096;
constexpr uint64_t max_bytes = uint64_t{1} << 42;
constexpr uint64_t max_chunks = uint64_t{1} << 22;
constexpr size_t max_name = 200;
constexpr size_t max_title = 200;
constexpr uint32_t least_chunk_bytes = 4 << 10;
constexpr uint32_t most_chunk_bytes = 16 << 20;
constexpr char magic[8] = {'C', 'O', 'E', 'L', 'M', 'A', 'N', '1'};

uint64_t chunks_in(uint64_t size, uint32_t chunk_bytes) {
  return size / chunk_bytes + (size % chunk_bytes != 0);
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-' || c == '+';
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= max_name && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), is_plain);
}

/// A name from outside may hold anything: show what can be shown.
std::string shown(std::string_view name) {
  std::string text;
  for (char c : name.substr(0, 60))
    text += c > ' ' && c < 127 ? c : '?';
  return "'" + text + "'";
}

error refuse(const std::string& why) {
  return {ec::bad_file, "the description of the model is refused: " + why};
}

result<void> check_file(const manifest_file& file, uint32_t chunk_bytes) {
  if (!is_plain_name(file.name))
    return refuse("file name " + shown(file.name) + " is not a plain name");
  if (file.size == 0 || file.size > max_bytes)
    return refuse("file " + shown(file.name) + " claims " + std::to_string(file.size) + " bytes");
  if (chunks_in(file.size, chunk_bytes) != file.chunks.size())
    return refuse("file " + shown(file.name) + " has not one hash for each chunk");
  return {};
}

class writer {
 public:
  template <class T>
  void number(T x) {
    raw(&x, sizeof x);
  }
  void raw(const void* data, size_t n) {
    auto* from = static_cast<const std::byte*>(data);
    out.insert(out.end(), from, from + n);
  }
  void text(std::string_view s) {
    number(static_cast<uint16_t>(s.size()));
    raw(s.data(), s.size());
  }
  std::vector<std::byte> out;
};

/// A failed read makes all later ones fail and yields zeros.
class reader {
 public:
  explicit reader(std::span<const std::byte> bytes) : left_(bytes) {}
  bool failed() const { return failed_; }
  size_t left() const { return left_.size(); }
  void raw(void* to, size_t n) {
    if (failed_ || n > left_.size()) {
      failed_ = true;
      return;
    }
    std::memcpy(to, left_.data(), n);
    left_ = left_.subspan(n);
  }
  template <class T>
  T number() {
    T x{};
    raw(&x, sizeof x);
    return x;
  }
  std::string text(size_t most) {
    auto n = number<uint16_t>();
    if (failed_ || n > most || n > left_.size()) {
      failed_ = true;
      return {};
    }
    std::string s(n, '\0');
    raw(s.data(), n);
    return s;
  }
  void fail() { failed_ = true; }

 private:
  std::span<const std::byte> left_;
  bool failed_ = false;
};

/// The hashes are there before memory for them is taken.
manifest_file read_file(reader& in, uint32_t chunk_bytes) {
  manifest_file file;
  file.name = in.text(max_name);
  file.size = in.number<uint64_t>();
  auto count = in.failed() ? 0 : chunks_in(file.size, chunk_bytes);
  if (count > in.left() / sizeof(sha256)) {
    in.fail();
    return file;
  }
  file.chunks.resize(count);
  for (auto& digest : file.chunks)
    in.raw(digest.data(), digest.size());
  return file;
}

} // namespace

result<manifest> manifest::make(std::string title, uint32_t chunk_bytes,
                                std::vector<manifest_file> files) {
  if (chunk_bytes < least_chunk_bytes || chunk_bytes > most_chunk_bytes ||
      !std::has_single_bit(chunk_bytes))
    return refuse("chunks of " + std::to_string(chunk_bytes) + " bytes");
  if (files.empty() || files.size() > max_files)
    return refuse(std::to_string(files.size()) + " files");
  std::sort(files.begin(), files.end(), [](auto& a, auto& b) { return a.name < b.name; });
  manifest m;
  uint64_t chunks = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    if (auto ok = check_file(files[i], chunk_bytes); !ok)
      return ok.err();
    if (i > 0 && files[i].name == files[i - 1].name)
      return refuse("file " + shown(files[i].name) + " appears twice");
    m.first_.push_back(static_cast<uint32_t>(chunks));
    m.bytes_ += files[i].size;
    chunks += files[i].chunks.size();
    if (m.bytes_ > max_bytes || chunks > max_chunks)
      return refuse("it claims more than " + std::to_string(max_bytes >> 40) + " TiB or " +
                    std::to_string(max_chunks) + " chunks");
  }
  m.first_.push_back(static_cast<uint32_t>(chunks));
  m.chunk_bytes_ = chunk_bytes;
  m.files_ = std::move(files);
  m.hash_ = sha256_of(m.encode_files());
  m.retitle(title);
  return m;
}

void manifest::retitle(std::string_view title) {
  title_.clear();
  for (char c : title.substr(0, max_title)) // it ends in terminals and JSON
    title_ += c >= ' ' && c < 127 ? c : '?';
}

std::vector<std::byte> manifest::encode_files() const {
  writer w;
  w.raw(magic, sizeof magic);
  w.number(chunk_bytes_);
  w.number(static_cast<uint32_t>(files_.size()));
  for (const auto& file : files_) {
    w.text(file.name);
    w.number(file.size);
    for (const auto& digest : file.chunks)
      w.raw(digest.data(), digest.size());
  }
  return std::move(w.out);
}

std::vector<std::byte> manifest::encode() const {
  writer w;
  w.out = encode_files();
  w.text(title_);
  return std::move(w.out);
}

result<manifest> manifest::decode(std::span<const std::byte> bytes) {
  reader in(bytes);
  char start[sizeof magic] = {};
  in.raw(start, sizeof start);
  if (std::memcmp(start, magic, sizeof magic) != 0)
    return refuse("it does not begin as one; the peer may run another version");
  auto chunk_bytes = in.number<uint32_t>();
  auto count = in.number<uint32_t>();
  if (chunk_bytes < least_chunk_bytes || count > max_files)
    return refuse(std::to_string(count) + " files in chunks of " + std::to_string(chunk_bytes) +
                  " bytes");
  std::vector<manifest_file> files;
  for (uint32_t i = 0; i < count && !in.failed(); ++i)
    files.push_back(read_file(in, chunk_bytes));
  auto title = in.text(max_title);
  if (in.failed() || in.left() > 0)
    return refuse(in.failed() ? "it ends too soon, or claims more than it holds"
                              : "it has bytes after its end");
  // One encoding for one model: else one set of files would have many hashes.
  for (size_t i = 1; i < files.size(); ++i)
    if (files[i].name <= files[i - 1].name)
      return refuse("its files are not in order");
  return make(std::move(title), chunk_bytes, std::move(files));
}

byte_range manifest::place(chunk_id chunk) const {
  auto after = std::upper_bound(first_.begin(), first_.end(), index(chunk));
  auto file = static_cast<uint32_t>(after - first_.begin() - 1);
  uint64_t offset = uint64_t{index(chunk) - first_[file]} * chunk_bytes_;
  return {file, offset, std::min<uint64_t>(chunk_bytes_, files_[file].size - offset)};
}

const sha256& manifest::digest(chunk_id chunk) const {
  auto file = place(chunk).file;
  return files_[file].chunks[index(chunk) - first_[file]];
}

std::string manifest::name_of(chunk_id chunk) const {
  auto at = place(chunk);
  return "chunk " + std::to_string(index(chunk)) + " (" + files_[at.file].name + ", bytes " +
         std::to_string(at.offset) + " to " + std::to_string(at.offset + at.length) + ")";
}

bool manifest::contains(const byte_range& range) const {
  return range.file < files_.size() && range.offset <= files_[range.file].size &&
         range.length <= files_[range.file].size - range.offset;
}

chunk_span manifest::chunks_of(const byte_range& range) const {
  uint32_t base = first_[range.file];
  if (range.length == 0)
    return {base, base};
  auto last = (range.offset + range.length - 1) / chunk_bytes_;
  return {base + static_cast<uint32_t>(range.offset / chunk_bytes_),
          base + static_cast<uint32_t>(last) + 1};
}

} // namespace coel::model
