#include "model/json.hpp"

#include "model/mapped_file.hpp"
#include "model/quoted.hpp"

namespace coel::model {

namespace {
constexpr int max_depth = 64;
}

result<nlohmann::json> parse_json(std::string_view text, const std::string& where) {
  bool too_deep = false;
  auto bounded = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    too_deep = too_deep || depth > max_depth;
    return !too_deep;
  };
  try {
    auto parsed = nlohmann::json::parse(text.begin(), text.end(), bounded);
    if (too_deep)
      return {ec::bad_file, where + ": the JSON is nested too deeply"};
    return parsed;
  } catch (const std::exception& e) {
    return {ec::bad_file, where + ": " + printable(e.what(), 300)};
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
