#include "model/json.hpp"

#include "model/mapped_file.hpp"
#include "model/quoted.hpp"

#include <functional>
#include <unordered_set>
#include <vector>

namespace coel::model {

namespace {

using nlohmann::json;
using event = json::parse_event_t;

constexpr int max_depth = 64;
// Three times what the largest public tokenizer.json has; a value takes up to 100 bytes of memory.
constexpr size_t max_events = 1 << 23;

/// Watches a parse: nlohmann itself takes any depth, and the last of equal keys.
class watcher {
 public:
  /// False: the value is dropped, as is all that follows.
  bool operator()(int depth, event what, json& value) {
    if (why_.empty() && depth > max_depth)
      why_ = "the JSON is nested too deeply";
    if (why_.empty() && ++events_ > max_events)
      why_ = "the JSON holds more values than any model needs";
    if (!why_.empty())
      return false;
    if (what == event::object_start)
      open_.emplace_back();
    else if (what == event::object_end)
      open_.pop_back();
    else if (what == event::key && !open_.back().insert(value.get_ref<std::string&>()).second)
      why_ = "key " + in_quotes(value.get_ref<std::string&>()) + " appears twice";
    return why_.empty();
  }
  const std::string& why() const { return why_; }

 private:
  std::vector<std::unordered_set<std::string>> open_; // the keys so far of each object around
  size_t events_ = 0;
  std::string why_;
};

} // namespace

result<nlohmann::json> parse_json(std::string_view text, const std::string& where) {
  watcher watch;
  try {
    auto parsed = json::parse(text.begin(), text.end(), std::ref(watch));
    if (!watch.why().empty())
      return {ec::bad_file, where + ": " + watch.why()};
    return parsed;
  } catch (const std::exception& e) {
    return {ec::bad_file,
            where + ": " + (watch.why().empty() ? printable(e.what(), 300) : watch.why())};
  }
}

result<nlohmann::json> read_json(const std::filesystem::path& path, uint64_t most_bytes) {
  auto file = mapped_file::open(path);
  if (!file)
    return file.err();
  auto bytes = (*file)->bytes();
  if (bytes.size() > most_bytes)
    return {ec::bad_file, path.string() + ": larger than " + std::to_string(most_bytes) + " bytes"};
  return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

} // namespace coel::model
