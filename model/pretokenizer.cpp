#include "model/pretokenizer.hpp"

#include "model/quoted.hpp"
#include "model/utf8.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace coel::model {

namespace {

// The patterns are part of the models' definitions: a token must be cut where it was in training.
constexpr const char* gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
#define COEL_LLAMA3_PATTERN(digits)                                                                \
  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" digits                               \
  R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
constexpr const char* qwen2_pattern = COEL_LLAMA3_PATTERN(R"(\p{N})");
constexpr const char* llama3_pattern = COEL_LLAMA3_PATTERN(R"(\p{N}{1,3})");
#undef COEL_LLAMA3_PATTERN

struct named_pattern {
  const char* name;
  const char* pattern;
  bool whole_words;
};

constexpr named_pattern known[] = {
    {"qwen2", qwen2_pattern, false},  {"llama-bpe", llama3_pattern, true},
    {"llama3", llama3_pattern, true}, {"llama-v3", llama3_pattern, true},
    {"gpt-2", gpt2_pattern, false},   {"gpt2", gpt2_pattern, false},
    {"olmo", gpt2_pattern, false},    {"default", gpt2_pattern, false},
};

// Generous for any word of a language, finite for an input made to backtrack.
constexpr uint32_t match_limit = 1'000'000;

} // namespace

struct pretokenizer::compiled {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  ~compiled() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
};

pretokenizer::pretokenizer(std::unique_ptr<compiled> pattern, bool whole_words)
    : pattern_(std::move(pattern)), whole_words_(whole_words) {}
pretokenizer::~pretokenizer() = default;

result<std::shared_ptr<const pretokenizer>> pretokenizer::make(const std::string& name) {
  for (const auto& k : known) {
    if (name != k.name)
      continue;
    auto made = std::make_unique<compiled>();
    int problem = 0;
    PCRE2_SIZE where = 0;
    made->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(k.pattern), PCRE2_ZERO_TERMINATED,
                               PCRE2_UTF | PCRE2_UCP, &problem, &where, nullptr);
    made->context = pcre2_match_context_create(nullptr);
    if (!made->code || !made->context)
      return {ec::internal,
              "the pattern of pre-tokenizer " + in_quotes(name) + " does not compile"};
    pcre2_set_match_limit(made->context, match_limit);
    pcre2_jit_compile(made->code, PCRE2_JIT_COMPLETE); // without it matching is slower, not wrong
    return std::shared_ptr<const pretokenizer>(new pretokenizer(std::move(made), k.whole_words));
  }
  return {ec::unsupported,
          (name.empty() ? std::string("the file names no pre-tokenizer; known are ")
                        : "pre-tokenizer " + in_quotes(name) + " is not one of ") +
              "qwen2, llama-bpe, gpt-2 and olmo"};
}

std::string_view pretokenizer::name_of(std::string_view pattern) {
  for (const auto& k : known)
    if (pattern == k.pattern)
      return k.name;
  return {};
}

bool pretokenizer::whole_words_first(std::string_view name) {
  for (const auto& k : known)
    if (name == k.name)
      return k.whole_words;
  return false;
}

std::vector<std::string_view> pretokenizer::split(std::string_view text) const {
  std::vector<std::string_view> pieces;
  size_t begin = 0, at = 0;
  while (at < text.size()) {
    if (size_t n = utf8_length(text, at)) {
      at += n;
      continue;
    }
    split_valid(text.substr(begin, at - begin), pieces);
    pieces.push_back(text.substr(at, 1));
    begin = ++at;
  }
  split_valid(text.substr(begin), pieces);
  return pieces;
}

void pretokenizer::split_valid(std::string_view text, std::vector<std::string_view>& into) const {
  if (text.empty())
    return;
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(pattern_->code, nullptr), pcre2_match_data_free);
  size_t at = 0;
  while (at < text.size()) {
    int found = pcre2_match(pattern_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                            at, PCRE2_NO_UTF_CHECK, match.get(), pattern_->context);
    if (found <= 0) // no match, or the limit: the rest is one piece
      break;
    const auto* range = pcre2_get_ovector_pointer(match.get());
    if (range[0] > at)
      into.push_back(text.substr(at, range[0] - at));
    if (range[1] <= range[0])
      break;
    into.push_back(text.substr(range[0], range[1] - range[0]));
    at = range[1];
  }
  if (at < text.size())
    into.push_back(text.substr(at));
}

} // namespace coel::model
