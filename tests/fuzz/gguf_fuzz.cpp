// Opens the bytes as a GGUF model. What is accepted must be readable to the last byte, and its
// vocabulary, if it makes a tokenizer, must run.
#include "compute/quant.hpp"
#include "model/describe.hpp"
#include "model/family.hpp"
#include "tests/fuzz/text_checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace coel;
  fuzz::memory_file file(data, size);
  auto source = model::open_model(file.path());
  if (!source) {
    fuzz::require(fuzz::valid_utf8(source.err().message) && !source.err().message.empty());
    return 0;
  }
  for (const auto& key : model::required_tensors((*source)->config())) {
    auto matrix = (*source)->matrix(key);
    fuzz::require(matrix.ok());
    compute::to_f32(*matrix);
  }
  fuzz::require(!model::describe(**source, 1 << 30).empty());
  if (auto made = model::make_tokenizer((*source)->vocabulary()))
    for (const char* text : {"ab a<|im_end|>\xc3\xa9", " \xff\n\n 12", ""})
      fuzz::require_round_trip(*made, text, false);
  return 0;
}
