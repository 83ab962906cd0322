#include "model/gguf_writer.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace coel::model {

namespace {

constexpr uint64_t alignment = 32; // the format's default, which every reader assumes

uint64_t aligned(uint64_t at) {
  return (at + alignment - 1) / alignment * alignment;
}

/// Kind numbers of the format.
enum class kind : uint32_t {
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10
};

/// The header as bytes.
class header {
 public:
  template <class T>
  void number(T x) {
    bytes_.append(reinterpret_cast<const char*>(&x), sizeof x);
  }
  void text(std::string_view s) {
    number(uint64_t{s.size()});
    bytes_.append(s);
  }
  void pair(const gguf_pair& p) {
    text(p.key);
    std::visit([this](const auto& v) { value(v); }, p.value);
  }
  void info(const gguf_tensor_info& t, uint64_t offset) {
    text(t.name);
    number(static_cast<uint32_t>(t.shape.size()));
    for (uint64_t n : t.shape)
      number(n);
    number(coel::info(t.type).gguf_id);
    number(offset);
  }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(bytes_)); }

 private:
  void value(bool x) { number(kind::boolean), number(uint8_t{x}); }
  void value(uint32_t x) { number(kind::u32), number(x); }
  void value(uint64_t x) { number(kind::u64), number(x); }
  void value(int32_t x) { number(kind::i32), number(x); }
  void value(float x) { number(kind::f32), number(x); }
  void value(const std::string& x) { number(kind::string), text(x); }
  void value(const std::vector<int32_t>& items) { array(kind::i32, items); }
  void value(const std::vector<float>& items) { array(kind::f32, items); }
  void value(const std::vector<std::string>& items) {
    number(kind::array), number(kind::string), number(uint64_t{items.size()});
    for (const auto& s : items)
      text(s);
  }
  template <class T>
  void array(kind k, const std::vector<T>& items) {
    number(kind::array), number(k), number(uint64_t{items.size()});
    for (T x : items)
      number(x);
  }

  std::string bytes_;
};

result<void> check(const std::vector<gguf_tensor_info>& tensors) {
  std::set<std::string_view> names;
  for (const auto& t : tensors) {
    if (!names.insert(t.name).second)
      return {ec::bad_argument, "tensor '" + t.name + "' is listed twice"};
    if (t.shape.empty() || t.shape.size() > 4 || t.bytes() == 0)
      return {ec::bad_argument, "tensor '" + t.name + "' has an empty shape"};
    if (t.shape[0] % info(t.type).block_elements)
      return {ec::bad_argument, "the rows of tensor '" + t.name +
                                    "' do not divide into blocks of " +
                                    std::string(to_string(t.type))};
  }
  return {};
}

std::string gigabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

} // namespace

uint64_t gguf_tensor_info::bytes() const {
  uint64_t rows = 1;
  for (size_t i = 1; i < shape.size(); ++i)
    rows *= shape[i];
  return rows * row_bytes(type, shape[0]);
}

gguf_writer::gguf_writer(std::filesystem::path path, std::vector<gguf_tensor_info> tensors)
    : path_(std::move(path)), part_(path_.string() + ".part"), tensors_(std::move(tensors)) {}

gguf_writer::~gguf_writer() {
  if (fd_ < 0)
    return;
  if (!finished_)
    ::unlink(part_.c_str());
  ::close(fd_);
}

error gguf_writer::failure(const std::string& what) const {
  return {ec::io, part_.string() + ": cannot " + what + ": " + std::strerror(errno)};
}

result<std::unique_ptr<gguf_writer>> gguf_writer::create(const std::filesystem::path& path,
                                                         const std::vector<gguf_pair>& metadata,
                                                         std::vector<gguf_tensor_info> tensors) {
  if (auto ok = check(tensors); !ok)
    return ok.err();
  std::unique_ptr<gguf_writer> w(new gguf_writer(path, std::move(tensors)));
  header h;
  for (char c : {'G', 'G', 'U', 'F'})
    h.number(c);
  h.number(uint32_t{3});
  h.number(uint64_t{w->tensors_.size()});
  h.number(uint64_t{metadata.size()});
  for (const auto& pair : metadata)
    h.pair(pair);
  uint64_t offset = 0;
  for (const auto& t : w->tensors_) {
    h.info(t, offset);
    w->starts_.push_back(offset);
    offset = aligned(offset + t.bytes());
    w->data_bytes_ += t.bytes();
  }
  uint64_t base = aligned(h.bytes().size());
  for (auto& start : w->starts_)
    start += base;
  w->file_bytes_ = base + offset;
  for (auto step : {&gguf_writer::open, &gguf_writer::reserve})
    if (auto ok = (w.get()->*step)(); !ok)
      return ok.err();
  if (auto ok = w->put(0, h.bytes()); !ok)
    return ok.err();
  return w;
}

/// Locks the part file, so that two processes never write the same one; a dead one's is reused.
result<void> gguf_writer::open() {
  int fd = ::open(part_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0)
    return failure("open");
  struct stat locked {
  }, named{};
  bool mine = ::flock(fd, LOCK_EX | LOCK_NB) == 0 && ::fstat(fd, &locked) == 0 &&
              ::stat(part_.c_str(), &named) == 0 && locked.st_ino == named.st_ino;
  if (!mine) { // or it was renamed between the two calls
    ::close(fd);
    return {ec::busy, part_.string() + ": another process is writing this file; wait for it"};
  }
  fd_ = fd;
  return ::ftruncate(fd_, 0) == 0 ? result<void>() : failure("empty");
}

result<void> gguf_writer::reserve() {
  auto size = static_cast<off_t>(file_bytes_);
  int reason = ::posix_fallocate(fd_, 0, size);
  if (reason == ENOSPC || reason == EFBIG) {
    std::error_code ignored;
    auto space = std::filesystem::space(part_, ignored);
    return {ec::io,
            part_.string() + ": " + gigabytes(file_bytes_) + " are needed, " +
                gigabytes(ignored ? 0 : space.available) +
                " are free (or a file may not be as large): make room or choose another folder"};
  }
  return ::ftruncate(fd_, size) == 0 ? result<void>() : failure("set the size");
}

result<void> gguf_writer::put(uint64_t at, std::span<const std::byte> data) {
  while (!data.empty()) {
    auto n = ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return failure("write");
    at += static_cast<uint64_t>(n);
    data = data.subspan(static_cast<size_t>(n));
  }
  return {};
}

result<void> gguf_writer::write(size_t tensor, uint64_t offset, std::span<const std::byte> data) {
  if (tensor >= tensors_.size() || offset > tensors_[tensor].bytes() ||
      data.size() > tensors_[tensor].bytes() - offset)
    return {ec::bad_argument, path_.string() + ": bytes outside their tensor"};
  if (auto ok = put(starts_[tensor] + offset, data); !ok)
    return ok;
  written_ += data.size();
  return {};
}

result<void> gguf_writer::finish() {
  if (written_ != data_bytes_)
    return {ec::internal, path_.string() + ": " + std::to_string(written_.load()) + " of " +
                              std::to_string(data_bytes_) + " bytes of tensors were written"};
  if (::fsync(fd_) != 0)
    return failure("make durable");
  if (::rename(part_.c_str(), path_.c_str()) != 0)
    return failure("rename");
  finished_ = true;
  return {};
}

} // namespace coel::model
