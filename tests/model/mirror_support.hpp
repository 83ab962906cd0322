// Models for the tests of manifests and mirrors, and folders that go away.
#pragma once

#include "model/manifest_files.hpp"
#include "model/mirror.hpp"

#include <boost/test/unit_test.hpp>

#include <fstream>
#include <unistd.h>

namespace coel::model::test {

struct scratch {
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("coel-mirror-" + std::to_string(::getpid()));
  scratch() {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
  }
  ~scratch() { std::filesystem::remove_all(folder); }
};

/// With a shared expert, quantised, of 3 layers; 163 chunks of 4 KiB.
inline std::filesystem::path fixture() {
  return std::filesystem::path(COEL_SOURCE_DIR) /
         "tests/golden/data/nano-random-qwen2moe-q4_0.gguf";
}

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write(const std::filesystem::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

inline manifest_options in_small_chunks(uint32_t chunk_bytes = 4096) {
  manifest_options options;
  options.chunk_bytes = chunk_bytes;
  return options;
}

template <class T>
T need(result<T> r) {
  BOOST_REQUIRE_MESSAGE(r.ok(), to_string(r.ok() ? error{} : r.err()));
  return std::move(*r);
}

inline void need(const result<void>& r) {
  BOOST_REQUIRE_MESSAGE(r.ok(), to_string(r.ok() ? error{} : r.err()));
}

/// Somebody who has the whole model.
struct holder {
  manifest description;
  std::vector<model_file> files;

  explicit holder(const std::filesystem::path& path, uint32_t chunk_bytes = 4096)
      : description(need(make_manifest(path, in_small_chunks(chunk_bytes)))),
        files(need(model_files(path))) {}

  std::vector<std::byte> chunk(chunk_id id) const {
    return need(read_chunk(description, files, id));
  }
  void give(mirror& to, chunk_id id) const { need(to.store(id, chunk(id))); }
  void give(mirror& to, const byte_range& range) const {
    for (auto id : to.missing(range))
      give(to, id);
  }
  void give_all(mirror& to) const {
    for (uint32_t i = 0; i < description.chunks(); ++i)
      give(to, static_cast<chunk_id>(i));
  }
};

/// Makes a Hugging Face folder of family olmoe, of two shards with an index; mirror_hf_model.cpp.
void write_hf_model(const std::filesystem::path& folder);

} // namespace coel::model::test
