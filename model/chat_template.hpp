// What a model's own chat template says besides its style. The template is Jinja, which is not run
// here: the few variations of the supported families are recognised by their text.
#pragma once

#include <string>
#include <string_view>

namespace coel::model {

struct chat_template_facts {
  std::string default_system;  ///< chatml: said where no system message is given; empty: nothing
  bool names_bos = false;      ///< the template writes the begin-of-text token
  bool drops_thoughts = false; ///< earlier answers are shown without <think>...</think>
  bool opens_thought = false;  ///< the answer begins inside <think>
};

chat_template_facts read_chat_template(std::string_view jinja);

} // namespace coel::model
