// What must hold of any tokenizer that was accepted.
#pragma once

#include "model/text_stream.hpp"
#include "model/utf8.hpp"
#include "tests/fuzz/memory_file.hpp"

namespace coel::fuzz {

inline bool valid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto n = model::utf8_length(text, at);
    if (n == 0)
      return false;
    at += n;
  }
  return true;
}

inline void require_in_range(const model::tokenizer& t, std::span<const int32_t> ids) {
  for (auto id : ids)
    require(id >= 0 && static_cast<uint32_t>(id) < t.size());
}

/// What a stream shows of these tokens.
inline std::string streamed(const model::tokenizer_ptr& t, std::span<const int32_t> ids,
                            std::vector<std::string> stop = {}) {
  model::text_stream stream(t, std::move(stop));
  std::string shown;
  for (auto id : ids) {
    auto step = stream.push(id);
    require(valid_utf8(step.text));
    shown += step.text;
    if (step.stopped)
      return shown;
  }
  return shown + stream.finish();
}

/// `exact`: every byte has a token, so that the text must come back.
inline void require_round_trip(const model::tokenizer_ptr& t, std::string_view text, bool exact) {
  for (bool special : {false, true}) {
    auto ids = t->encode(text, special, true);
    require_in_range(*t, ids);
    if (ids = t->encode(text, special, false); exact)
      require(t->decode(ids, true) == text);
  }
  if (!exact || !valid_utf8(text) || t->data().kind == model::tokenizer_data::algorithm::spm)
    return; // a SentencePiece stream begins with the space that encode adds
  auto ids = t->encode(text, false, false);
  require(streamed(t, ids) == text);
  const std::string stop(text.substr(text.size() / 2, 3));
  if (!stop.empty() && valid_utf8(stop))
    require(streamed(t, ids, {stop}) == text.substr(0, text.find(stop)));
}

} // namespace coel::fuzz
