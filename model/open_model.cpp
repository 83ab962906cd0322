#include "model/gguf_model.hpp"
#include "model/hf_model.hpp"

namespace coel::model {

result<source_ptr> open_model(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return open_hf(path);
  return open_gguf(path);
}

} // namespace coel::model
