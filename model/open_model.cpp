#include "model/gguf_model.hpp"
#include "model/hf_model.hpp"
#include "model/manifest_files.hpp"
#include "model/mirror.hpp"

namespace coel::model {

result<source_ptr> open_model(const std::filesystem::path& given) {
  if (auto ok = refuse_unfinished_mirror(given); !ok)
    return ok.err();
  auto path = gguf_inside(given);
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return open_hf(path);
  return open_gguf(path);
}

} // namespace coel::model
