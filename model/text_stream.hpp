// Turns tokens into text that can be shown at once: whole UTF-8 characters, and no beginning of a
// stop string.
#pragma once

#include "model/tokenizer.hpp"

#include <string>
#include <vector>

namespace coel::model {

class text_stream {
 public:
  text_stream(tokenizer_ptr tokenizer, std::vector<std::string> stop);

  struct step {
    std::string text;     ///< safe to show now
    bool stopped = false; ///< a stop string was completed; text ends before it
  };
  step push(int32_t id);
  /// What was held back when the answer ends otherwise; broken UTF-8 becomes U+FFFD.
  std::string finish();

 private:
  tokenizer_ptr tokenizer_;
  std::vector<std::string> stop_;
  std::string held_;
};

} // namespace coel::model
