// Reads the bytes as tokenizer.json, tokenizer_config.json, generation_config.json and
// chat_template.jinja, with a zero byte between them. An accepted vocabulary must tokenize, and
// build a prompt if its template is known.
#include "model/chat.hpp"
#include "model/hf_tokenizer.hpp"
#include "tests/fuzz/byte_reader.hpp"
#include "tests/fuzz/text_checks.hpp"

using namespace coel;

namespace {

constexpr const char* names[] = {"tokenizer.json", "tokenizer_config.json",
                                 "generation_config.json", "chat_template.jinja"};
constexpr int files = std::size(names), first_fd = 200;

/// Its files are links to descriptors of this process, so that no input is written to a disk. A
/// crash leaves it behind: run.sh has it made where all of a run is removed.
class directory {
 public:
  directory() {
    auto name = (std::filesystem::temp_directory_path() / "coel-hf-XXXXXX").string();
    fuzz::require(::mkdtemp(name.data()) != nullptr);
    path_ = name;
    for (int i = 0; i < files; ++i)
      std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(first_fd + i),
                                      path_ / names[i]);
  }
  ~directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

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
  static const directory here;
  const auto contents = fuzz::split({reinterpret_cast<const char*>(data), size}, '\0', files);
  for (int i = 0; i < files; ++i)
    put(i, contents[static_cast<size_t>(i)]);
  auto vocabulary = model::read_hf_tokenizer(here.path());
  if (!vocabulary) {
    fuzz::require(fuzz::valid_utf8(vocabulary.err().message) &&
                  vocabulary.err().message.size() < 1000);
    return 0;
  }
  auto made = model::make_tokenizer(std::move(*vocabulary));
  if (!made)
    return 0;
  const auto& d = (*made)->data();
  const bool exact = d.kind == model::tokenizer_data::algorithm::bpe && !d.unk;
  for (const char* text :
       {"Hello  world's 1234\n\n <|im_end|></s> \xc3\xa9\xe4\xb8\xad!", "", " ", "\xff\xfe"})
    fuzz::require_round_trip(*made, text, exact);
  const auto style = model::detect_chat_style(d);
  auto prompt = model::chat_prompt(style, d, {{"system", "s"}, {"user", "u"}});
  fuzz::require(prompt.ok() == (style != model::chat_style::unknown));
  if (prompt)
    fuzz::require_in_range(**made, (*made)->encode(*prompt));
  return 0;
}
