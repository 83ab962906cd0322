#include "model/hf_tokenizer.hpp"
namespace coel::model { result<tokenizer_data> read_hf_tokenizer(const std::filesystem::path&) { return {ec::unsupported, "not yet"}; } }
