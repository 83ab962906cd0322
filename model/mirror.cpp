#include "model/mirror.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace coel::model {

namespace {

// No file of a model begins with a dot, so that this folder is never one's name.
constexpr const char* state_folder = ".mirror";
constexpr const char* manifest_name = "manifest";
constexpr const char* bits_name = "chunks";
constexpr const char* lock_name = "lock";
constexpr uint64_t max_manifest_bytes = uint64_t{256} << 20;
constexpr uint64_t max_bits_bytes = 1 << 20;
/// Writing out costs milliseconds on an SSD, tens on a disk; a crash costs at most these chunks.
constexpr size_t record_every = 32;

std::string mib(uint64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

bool means_no_room(int code) {
  return code == ENOSPC || code == EDQUOT || code == EFBIG;
}

uint64_t free_bytes(const std::filesystem::path& folder) {
  struct statvfs disk {};
  if (::statvfs(folder.c_str(), &disk) != 0)
    return 0;
  return uint64_t{disk.f_bavail} * disk.f_frsize;
}

/// The lock is the kernel's, so that it dies with the process; the number inside is for people.
result<file_handle> lock_folder(const std::filesystem::path& folder) {
  auto path = folder / state_folder / lock_name;
  auto lock = file_handle::open_to_write(path);
  if (!lock)
    return lock.err();
  if (::flock(lock->descriptor(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      return system_error(path, "lock");
    auto holder = read_whole(path, 64);
    std::string number =
        holder ? std::string(reinterpret_cast<const char*>(holder->data()), holder->size()) : "";
    return {ec::busy,
            folder.string() + ": process " + (number.empty() ? "?" : number) +
                " fetches into this folder: stop it, or give this node another cache folder"};
  }
  auto number = std::to_string(::getpid());
  if (auto ok = lock->resize(0); !ok)
    return ok.err();
  if (auto ok = lock->write_at(0, std::as_bytes(std::span(number))); !ok)
    return ok.err();
  return lock;
}

result<manifest> stored_manifest(const std::filesystem::path& folder) {
  auto path = folder / state_folder / manifest_name;
  auto bytes = read_whole(path, max_manifest_bytes);
  if (!bytes)
    return bytes.err();
  auto stored = manifest::decode(*bytes);
  if (!stored)
    return {ec::bad_file, path.string() + ": " + stored.err().message};
  return stored;
}

/// Nothing is here if the file is not, or is damaged: then all is fetched again.
chunk_set stored_bits(const std::filesystem::path& folder, uint32_t chunks) {
  auto bytes = read_whole(folder / state_folder / bits_name, max_bits_bytes);
  auto set = bytes ? chunk_set::decode(*bytes, chunks) : bytes.err();
  return set ? *set : chunk_set(chunks);
}

} // namespace

mirror::mirror(std::filesystem::path folder, manifest description, file_handle lock)
    : folder_(std::move(folder)), description_(std::move(description)), lock_(std::move(lock)),
      here_(description_.chunks()), recorded_(description_.chunks()) {}

mirror::~mirror() {
  if (!bits_.empty())
    (void)record().ok();
}

result<std::shared_ptr<mirror>> mirror::open(const std::filesystem::path& models,
                                             const manifest& description) {
  auto folder = models / to_hex(description.hash());
  if (auto ok = make_folder(folder / state_folder); !ok)
    return ok.err();
  return take(folder, &description);
}

result<std::shared_ptr<mirror>> mirror::reopen(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder / state_folder, ignored))
    return {ec::bad_file, folder.string() + ": no model has been fetched into this folder"};
  return take(folder, nullptr);
}

result<std::shared_ptr<mirror>> mirror::take(const std::filesystem::path& folder,
                                             const manifest* description) {
  auto lock = lock_folder(folder);
  if (!lock)
    return lock.err();
  auto stored = stored_manifest(folder);
  if (!stored && !description)
    return stored.err();
  if (description && (!stored || stored->hash() != description->hash())) {
    auto path = folder / state_folder / manifest_name;
    if (auto ok = replace_whole(path, description->encode()); !ok)
      return ok.err();
  }
  std::shared_ptr<mirror> opened(
      new mirror(folder, description ? *description : std::move(*stored), std::move(*lock)));
  if (auto ok = opened->prepare(); !ok)
    return ok.err();
  return opened;
}

result<void> mirror::prepare() {
  here_ = stored_bits(folder_, description_.chunks());
  auto bits = file_handle::open_to_write(folder_ / state_folder / bits_name);
  if (!bits)
    return bits.err();
  bits_.push_back(std::move(*bits));
  return prepare_files();
}

/// A file of another size is not what the bits speak of. They say so before it gets its size, or a
/// crash in between would leave holes that count as fetched.
result<void> mirror::prepare_files() {
  std::vector<uint32_t> to_resize;
  for (uint32_t i = 0; i < description_.files().size(); ++i) {
    const auto& file = description_.files()[i];
    auto handle = file_handle::open_to_write(folder_ / file.name);
    if (!handle)
      return handle.err();
    auto about = handle->about();
    if (!about)
      return about.err();
    files_.push_back(std::move(*handle));
    if (static_cast<uint64_t>(about->st_size) == file.size)
      continue;
    to_resize.push_back(i);
    auto span = description_.chunks_of({i, 0, file.size});
    for (uint32_t c = span.first; c < span.last; ++c)
      here_.remove(static_cast<chunk_id>(c));
  }
  if (auto ok = write_bits(here_); !ok)
    return ok;
  recorded_ = here_;
  for (auto i : to_resize)
    if (auto ok = files_[i].resize(description_.files()[i].size); !ok)
      return ok;
  return {};
}

result<void> mirror::write_bits(const chunk_set& set) {
  const auto& file = bits_.front();
  if (auto ok = file.resize(set.encode().size()); !ok)
    return ok;
  if (auto ok = file.write_at(0, set.encode()); !ok)
    return ok;
  return file.sync();
}

bool mirror::has(const byte_range& range) const {
  if (!description_.contains(range))
    return false;
  std::lock_guard lock(changing_);
  return here_.has_all(description_.chunks_of(range));
}

bool mirror::has(chunk_id chunk) const {
  std::lock_guard lock(changing_);
  return here_.has(chunk);
}

std::vector<chunk_id> mirror::missing(const byte_range& range) const {
  std::vector<chunk_id> chunks;
  if (!description_.contains(range))
    return chunks;
  auto span = description_.chunks_of(range);
  std::lock_guard lock(changing_);
  for (uint32_t c = span.first; c < span.last; ++c)
    if (auto chunk = static_cast<chunk_id>(c); !here_.has(chunk))
      chunks.push_back(chunk);
  return chunks;
}

uint64_t mirror::missing_bytes() const {
  auto set = present();
  uint64_t bytes = 0;
  for (uint32_t c = 0; c < set.size(); ++c)
    if (auto chunk = static_cast<chunk_id>(c); !set.has(chunk))
      bytes += description_.place(chunk).length;
  return bytes;
}

bool mirror::complete() const {
  std::lock_guard lock(changing_);
  return here_.full();
}

chunk_set mirror::present() const {
  std::lock_guard lock(changing_);
  return here_;
}

error mirror::not_stored(chunk_id chunk, const error& why, int code) const {
  if (!means_no_room(code))
    return why;
  return {ec::io, folder_.string() + ": no room for " + description_.name_of(chunk) + ": " +
                      mib(missing_bytes()) + " of the model are not here yet, " +
                      mib(free_bytes(folder_)) +
                      " are free: free some, or give this node another cache folder"};
}

result<void> mirror::store(chunk_id chunk, std::span<const std::byte> bytes) {
  if (index(chunk) >= description_.chunks())
    return {ec::bad_file, "the model has no chunk " + std::to_string(index(chunk))};
  auto at = description_.place(chunk);
  if (bytes.size() != at.length)
    return {ec::bad_file, description_.name_of(chunk) + " came as " + std::to_string(bytes.size()) +
                              " bytes: nothing was written, it must be fetched again"};
  if (sha256_of(bytes) != description_.digest(chunk))
    return {ec::bad_file, description_.name_of(chunk) +
                              " came with other bytes than its hash promises: nothing was "
                              "written, it must be fetched again"};
  if (has(chunk))
    return {};
  errno = 0;
  if (auto ok = files_[at.file].write_at(at.offset, bytes); !ok)
    return not_stored(chunk, ok.err(), errno);
  size_t waiting = 0;
  {
    std::lock_guard lock(changing_);
    here_.add(chunk);
    unrecorded_.push_back(chunk);
    waiting = unrecorded_.size();
  }
  return waiting >= record_every ? record() : result<void>{};
}

/// The bytes reach the disk before the bits that vouch for them.
result<void> mirror::record() {
  std::lock_guard one_at_a_time(recording_);
  std::vector<chunk_id> now;
  {
    std::lock_guard lock(changing_);
    now.swap(unrecorded_);
  }
  if (now.empty())
    return {};
  std::vector<bool> touched(files_.size());
  auto next = recorded_;
  for (auto chunk : now) {
    touched[description_.place(chunk).file] = true;
    next.add(chunk);
  }
  result<void> done;
  for (size_t i = 0; i < files_.size() && done; ++i)
    if (touched[i])
      done = files_[i].sync();
  if (done)
    done = write_bits(next);
  if (done) {
    recorded_ = std::move(next);
    return done;
  }
  // After a failed write-out the kernel may have dropped the bytes: they count as missing.
  std::lock_guard lock(changing_);
  for (auto chunk : now)
    here_.remove(chunk);
  return done;
}

result<std::vector<std::byte>> mirror::read(chunk_id chunk) const {
  if (!has(chunk))
    return {ec::bad_argument, "chunk " + std::to_string(index(chunk)) + " is not here"};
  auto at = description_.place(chunk);
  std::vector<std::byte> bytes(at.length);
  if (auto ok = files_[at.file].read_at(at.offset, bytes); !ok)
    return ok.err();
  return bytes;
}

result<bool> mirror::verify(chunk_id chunk) {
  auto bytes = read(chunk);
  if (!bytes)
    return bytes.err();
  if (sha256_of(*bytes) == description_.digest(chunk))
    return true;
  std::lock_guard one_at_a_time(recording_);
  {
    std::lock_guard lock(changing_);
    here_.remove(chunk);
    std::erase(unrecorded_, chunk);
  }
  recorded_.remove(chunk);
  if (auto ok = write_bits(recorded_); !ok)
    return ok.err();
  return false;
}

result<void> refuse_unfinished_mirror(const std::filesystem::path& path) {
  std::error_code ignored;
  auto folder = std::filesystem::is_directory(path, ignored) ? path : path.parent_path();
  if (!std::filesystem::is_directory(folder / state_folder, ignored))
    return {};
  auto description = stored_manifest(folder);
  if (!description)
    return {}; // a folder of that name which is not ours
  auto set = stored_bits(folder, description->chunks());
  if (set.full())
    return {};
  return {ec::bad_file, folder.string() + ": only " + std::to_string(set.count()) + " of " +
                            std::to_string(set.size()) +
                            " chunks of this model have been fetched: join a node that has it, "
                            "and the rest is fetched as it is needed"};
}

} // namespace coel::model
