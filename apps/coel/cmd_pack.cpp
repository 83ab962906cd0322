#include "apps/coel/cmd_pack.hpp"

#include "apps/coel/progress_line.hpp"
#include "cpu/device.hpp"
#include "model/expert_store.hpp"
#include "model/manifest_io.hpp"

#include <chrono>

namespace coel::app {

namespace {

using clock = std::chrono::steady_clock;

int fail(const error& e) {
  std::fprintf(stderr, "coel pack: %s\n", e.message.c_str());
  return 1;
}

void say(const std::filesystem::path& path, const char* what, uint64_t bytes,
         const compute::kept_layout& layout, clock::time_point since) {
  double seconds = std::chrono::duration<double>(clock::now() - since).count();
  std::printf("%s: %s, %.1f MB in the layout %s, %.1f s\n", path.c_str(), what,
              static_cast<double>(bytes) / 1e6, std::string(layout.name()).c_str(), seconds);
}

/// Reads every expert and compares it with its checksum.
result<uint64_t> check_all(const std::filesystem::path& path, const model::source_ptr& of,
                           const compute::kept_layout& layout, progress_line& line) {
  auto store = model::expert_store::open(path, of, layout);
  if (!store)
    return store.err();
  auto file = model::file_handle::open_to_read(path);
  if (!file)
    return file.err();
  std::vector<std::byte> bytes;
  uint64_t done = 0;
  for (uint32_t l = 0; l < of->config().layers; ++l)
    for (uint32_t e = 0; e < of->config().experts; ++e) {
      expert_key key{static_cast<layer_id>(l), static_cast<expert_id>(e)};
      auto piece = (*store)->piece(key);
      bytes.resize(piece.bytes);
      if (auto ok = file->read_at(piece.offset, bytes); !ok)
        return ok.err();
      if (auto ok = (*store)->check(key, bytes); !ok)
        return ok.err();
      line.show(done += piece.bytes, (*store)->all());
    }
  return (*store)->all();
}

} // namespace

int cmd_pack(const pack_options& o) {
  auto source = model::open_model(o.model);
  if (!source)
    return fail(source.err());
  auto device = cpu::make_device({1, o.kernels, 0, false});
  if (!device)
    return fail(device.err());
  const auto* layout = compute::layout_of(**device);
  if (!layout)
    return fail({ec::unsupported, (*device)->status().name +
                                      " has no layout of its own: a store would save nothing"});
  auto path = o.out.empty() ? model::usual_store_path(o.model) : std::filesystem::path(o.out);
  progress_line line;
  auto since = clock::now();
  auto show = [&](uint64_t done, uint64_t total) { line.show(done, total); };
  auto bytes = o.check ? check_all(path, *source, *layout, line)
                       : model::write_expert_store(*source, *layout, path, {o.threads, show});
  if (!bytes)
    return fail(bytes.err());
  say(path, o.check ? "whole" : "written", *bytes, *layout, since);
  return 0;
}

} // namespace coel::app
