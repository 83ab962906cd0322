#include "apps/coel/cmd_model.hpp"

#include "model/describe.hpp"

#include <cstdio>
#include <fstream>

namespace coel::app {

namespace {

/// MemAvailable of /proc/meminfo; 0 where there is none.
uint64_t free_memory_bytes() {
  std::ifstream in("/proc/meminfo");
  for (std::string word; in >> word;)
    if (uint64_t kib = 0; word == "MemAvailable:" && in >> kib)
      return kib * 1024;
  return 0;
}

} // namespace

int cmd_model(const std::filesystem::path& file, bool json) {
  auto source = model::open_model(file);
  if (!source) {
    std::fprintf(stderr, "coel model: %s\n", source.err().message.c_str());
    return 1;
  }
  auto free_bytes = free_memory_bytes();
  auto text = json ? model::describe_json(**source, free_bytes).dump(2) + "\n"
                   : model::describe(**source, free_bytes);
  std::fputs(text.c_str(), stdout);
  return 0;
}

} // namespace coel::app
