#include "model/manifest_files.hpp"

#include "model/gguf.hpp"
#include "model/hf_config.hpp"
#include "model/json.hpp"
#include "model/manifest_hashing.hpp"
#include "model/manifest_io.hpp"

#include <algorithm>
#include <cstdio>

namespace coel::model {

namespace {

constexpr uint64_t max_index_bytes = 64 << 20;
constexpr uint64_t max_cached_bytes = uint64_t{256} << 20;

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

result<std::vector<model_file>> gguf_files(const std::filesystem::path& path) {
  auto opened = gguf_file::open(path);
  if (!opened)
    return opened.err();
  const auto& parts = opened->files();
  if (parts.size() == 1)
    return std::vector{model_file{"model.gguf", path}};
  std::vector<model_file> files;
  for (size_t i = 0; i < parts.size(); ++i) {
    char name[48];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.gguf", i + 1, parts.size());
    files.push_back({name, parts[i]->path()});
  }
  return files;
}

result<std::vector<model_file>> hf_files(const std::filesystem::path& directory) {
  std::vector<std::string> names{"config.json", "tokenizer.json"};
  for (const char* optional :
       {"tokenizer_config.json", "generation_config.json", "chat_template.jinja"})
    if (is_there(directory / optional))
      names.push_back(optional);
  const char* index = "model.safetensors.index.json";
  if (is_there(directory / index)) {
    auto parsed = read_json(directory / index, max_index_bytes);
    auto shards = parsed ? hf_shards(*parsed) : parsed.err();
    if (!shards)
      return shards.err();
    names.push_back(index);
    names.insert(names.end(), shards->begin(), shards->end());
  } else {
    names.push_back("model.safetensors");
  }
  std::vector<model_file> files;
  files.reserve(names.size());
  for (const auto& name : names)
    files.push_back({name, directory / name});
  return files;
}

/// What must be unchanged for a cached manifest to hold.
std::string identity_of(const hashing_job& job) {
  std::string text = "chunks of " + std::to_string(job.chunk_bytes) + "\n";
  for (const auto& file : job.files) {
    std::error_code ignored;
    auto path = std::filesystem::weakly_canonical(file.path, ignored);
    const auto& s = file.about;
    text += file.name + "\n" + path.string() + "\n" + std::to_string(s.st_size) + " " +
            std::to_string(s.st_mtim.tv_sec) + " " + std::to_string(s.st_mtim.tv_nsec) + " " +
            std::to_string(s.st_dev) + " " + std::to_string(s.st_ino) + "\n";
  }
  return text;
}

std::filesystem::path cache_entry(const std::filesystem::path& cache, const std::string& identity) {
  return cache / (to_hex(sha256_of(std::as_bytes(std::span(identity)))) + ".manifest");
}

/// Nothing if it is not there or damaged: then the model is read again.
std::optional<manifest> cached(const std::filesystem::path& entry) {
  auto bytes = read_whole(entry, max_cached_bytes);
  if (!bytes || bytes->size() < sizeof(sha256))
    return std::nullopt;
  auto content = std::span(*bytes).subspan(sizeof(sha256));
  auto sum = sha256_of(content);
  if (!std::equal(sum.begin(), sum.end(), bytes->begin()))
    return std::nullopt;
  auto known = manifest::decode(content);
  return known ? std::optional(std::move(*known)) : std::nullopt;
}

/// A cache that cannot be written costs time at the next start, not this one.
void keep(const std::filesystem::path& entry, const manifest& computed) {
  auto content = computed.encode();
  auto sum = sha256_of(content);
  content.insert(content.begin(), sum.begin(), sum.end());
  if (make_folder(entry.parent_path()))
    (void)replace_whole(entry, content).ok();
}

std::string title_of(const std::filesystem::path& path, const std::string& chosen) {
  if (!chosen.empty())
    return chosen;
  std::error_code ignored;
  auto whole = std::filesystem::absolute(path, ignored).lexically_normal();
  if (!whole.has_filename())
    whole = whole.parent_path();
  return std::filesystem::is_directory(path, ignored) ? whole.filename().string()
                                                      : whole.stem().string();
}

} // namespace

std::filesystem::path gguf_inside(const std::filesystem::path& path) {
  std::error_code failed;
  if (!std::filesystem::is_directory(path, failed) || is_there(path / "config.json"))
    return path;
  std::vector<std::filesystem::path> found;
  for (std::filesystem::directory_iterator i(path, failed), end; !failed && i != end;
       i.increment(failed)) {
    auto name = i->path().filename().string();
    auto part = name.find("-of-");
    bool later = part != name.npos && part >= 6 && name.substr(part - 6, 6) != "-00001";
    if (i->path().extension() == ".gguf" && !later)
      found.push_back(i->path());
  }
  return found.size() == 1 ? found.front() : path;
}

result<std::vector<model_file>> model_files(const std::filesystem::path& given) {
  std::error_code ignored;
  auto path = gguf_inside(given);
  auto files = std::filesystem::is_directory(path, ignored) ? hf_files(path) : gguf_files(path);
  if (files)
    std::sort(files->begin(), files->end(), [](auto& a, auto& b) { return a.name < b.name; });
  return files;
}

result<manifest> make_manifest(const std::filesystem::path& path, const manifest_options& options) {
  if (options.chunk_bytes == 0)
    return {ec::bad_argument, "a chunk must have bytes"};
  auto files = model_files(path);
  if (!files)
    return files.err();
  auto job = open_to_hash(*files, options.chunk_bytes);
  if (!job)
    return job.err();
  auto identity = identity_of(*job);
  auto entry = options.cache.empty() ? options.cache : cache_entry(options.cache, identity);
  auto title = title_of(path, options.title);
  if (auto known = entry.empty() ? std::nullopt : cached(entry)) {
    known->retitle(title);
    return std::move(*known);
  }
  auto hashed = hash_chunks(*job, options.threads, options.progress);
  if (!hashed)
    return hashed.err();
  if (auto again = open_to_hash(*files, options.chunk_bytes);
      !again || identity_of(*again) != identity)
    return {ec::io, path.string() + ": changed while it was read: start again once it is written"};
  auto made = manifest::make(title, options.chunk_bytes, std::move(*hashed));
  if (made && !entry.empty())
    keep(entry, *made);
  return made;
}

result<std::vector<std::byte>> read_chunk(const manifest& of, const std::vector<model_file>& files,
                                          chunk_id chunk) {
  if (index(chunk) >= of.chunks() || files.size() != of.files().size())
    return {ec::bad_argument, "the model has no chunk " + std::to_string(index(chunk))};
  auto at = of.place(chunk);
  auto file = file_handle::open_to_read(files[at.file].path);
  if (!file)
    return file.err();
  std::vector<std::byte> bytes(at.length);
  if (auto ok = file->read_at(at.offset, bytes); !ok)
    return ok.err();
  return bytes;
}

} // namespace coel::model
