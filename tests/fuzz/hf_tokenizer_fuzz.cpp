// Reads the bytes as tokenizer.json, tokenizer_config.json and generation_config.json, with a zero
// byte between them. An accepted vocabulary must tokenize and build a prompt.
#include "model/chat.hpp"
#include "model/hf_tokenizer.hpp"
#include "tests/fuzz/byte_reader.hpp"
#include "tests/fuzz/text_checks.hpp"

using namespace coel;

namespace {

constexpr const char* names[] = {"tokenizer.json", "tokenizer_config.json", "generation_config.json"};
constexpr int first_fd = 200;

/// Its files are links to descriptors of this process, so that nothing is written to a disk.
const std::filesystem::path& directory() {
  static const std::filesystem::path made = [] {
    auto path = std::filesystem::current_path() / ("hf-" + std::to_string(::getpid()));
    std::filesystem::create_directory(path);
    for (int i = 0; i < 3; ++i)
      std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(first_fd + i), path / names[i]);
    return path;
  }();
  return made;
}

/// An empty text is a file that is not there.
void put(int index, std::string_view text) {
  ::close(first_fd + index);
  if (text.empty())
    return;
  fuzz::memory_file file(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  fuzz::require(::dup2(file.fd(), first_fd + index) >= 0);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto files = fuzz::split({reinterpret_cast<const char*>(data), size}, '\0', 3);
  for (int i = 0; i < 3; ++i)
    put(i, files[static_cast<size_t>(i)]);
  auto vocabulary = model::read_hf_tokenizer(directory());
  if (!vocabulary) {
    fuzz::require(fuzz::valid_utf8(vocabulary.err().message) && vocabulary.err().message.size() < 1000);
    return 0;
  }
  auto made = model::make_tokenizer(std::move(*vocabulary));
  if (!made)
    return 0;
  const auto& d = (*made)->data();
  const bool exact = d.kind == model::tokenizer_data::algorithm::bpe && !d.unk;
  for (const char* text : {"Hello  world's 1234\n\n <|im_end|></s> \xc3\xa9\xe4\xb8\xad!", "", " ", "\xff\xfe"})
    fuzz::require_round_trip(*made, text, exact);
  auto prompt = model::chat_prompt(model::detect_chat_style(d), d, {{"system", "s"}, {"user", "u"}});
  fuzz::require(prompt.ok());
  fuzz::require_in_range(**made, (*made)->encode(*prompt));
  return 0;
}
