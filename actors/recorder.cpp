#include "actors/recorder.hpp"

#include <caf/all.hpp>

#include <cerrno>
#include <cstring>

namespace coel::actors {

namespace {

void put_u32(std::ofstream& out, uint32_t x) {
  for (int i = 0; i < 4; ++i)
    out.put(static_cast<char>(x >> (8 * i)));
}

} // namespace

result<std::shared_ptr<std::ofstream>> open_routing_file(const std::filesystem::path& path,
                                                         const policy::routing_shape& shape) {
  auto file = std::make_shared<std::ofstream>(path, std::ios::binary | std::ios::trunc);
  file->write("COELROUT", 8);
  for (uint32_t x : {1u, shape.layers, shape.experts, shape.top_k})
    put_u32(*file, x);
  if (!file->flush())
    return {ec::io, path.string() + ": cannot write: " + std::strerror(errno)};
  return file;
}

recorder_actor::behavior_type recorder(recorder_actor::pointer,
                                       std::shared_ptr<std::ofstream> file) {
  return {
      [file](atom::append, const std::vector<char>& bytes) {
        file->write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
      },
  };
}

} // namespace coel::actors
