#include "net/msgpack_reader.hpp"

#include "net/utf8.hpp"

namespace coel::net {

namespace {

// Walks a frame without building anything, so that what is built afterwards is known to be small:
// an array header of five bytes may claim four thousand million elements.
class limit_checker : public msgpack::null_visitor {
 public:
  limit_checker(size_t frame_bytes, const unpack_limits& limits)
      : frame_bytes_(frame_bytes), limits_(&limits) {}

  const char* complaint() const { return complaint_; }

  bool visit_nil() { return item(); }
  bool visit_boolean(bool) { return item(); }
  bool visit_positive_integer(uint64_t) { return item(); }
  bool visit_negative_integer(int64_t) { return item(); }
  bool visit_float32(float) { return item(); }
  bool visit_float64(double) { return item(); }
  bool visit_str(const char*, uint32_t) { return item(); }
  bool visit_bin(const char*, uint32_t) { return item(); }
  bool visit_ext(const char*, uint32_t) { return item(); }
  bool start_array(uint32_t size) { return enter(size); }
  bool start_map(uint32_t size) {
    return size <= limits_->map_fields ? enter(size) : refuse("a map has too many fields");
  }
  bool end_array() { return leave(); }
  bool end_map() { return leave(); }

 private:
  bool item() { return ++items_ <= limits_->items || refuse("it has too many elements"); }
  bool enter(size_t size) {
    if (size > frame_bytes_ || size > limits_->items)
      return refuse("an array claims more elements than the message can hold");
    return ++depth_ <= limits_->depth ? item() : refuse("it is nested too deeply");
  }
  bool leave() {
    --depth_;
    return true;
  }
  bool refuse(const char* why) {
    complaint_ = why;
    return false;
  }

  size_t frame_bytes_;
  const unpack_limits* limits_;
  size_t items_ = 0;
  size_t depth_ = 0;
  const char* complaint_ = "it is not complete msgpack";
};

bool refer_to_frame(msgpack::type::object_type, size_t, void*) {
  return true;
}

error wrong(std::string_view name, std::string_view expected) {
  return {ec::bad_frame, "field '" + std::string(name) + "' must be " + std::string(expected)};
}

} // namespace

result<msgpack::object_handle> unpack_map(std::string_view frame, const unpack_limits& limits) {
  if (frame.size() > limits.bytes)
    return {ec::too_long, "a message of " + std::to_string(frame.size()) +
                              " bytes exceeds the limit of " + std::to_string(limits.bytes)};
  try {
    limit_checker checker(frame.size(), limits);
    size_t offset = 0;
    if (!msgpack::parse(frame.data(), frame.size(), offset, checker))
      return {ec::bad_frame, std::string("the message cannot be read: ") + checker.complaint()};
    if (offset != frame.size())
      return {ec::bad_frame, "the message has bytes after its map"};
    auto handle = msgpack::unpack(frame.data(), frame.size(), refer_to_frame);
    if (handle->type != msgpack::type::MAP)
      return {ec::bad_frame, "the message must be a msgpack map"};
    return handle;
  } catch (const std::exception& e) {
    return {ec::bad_frame, std::string("the message cannot be read: ") + e.what()};
  }
}

bool is_number(const msgpack::object& value) {
  using namespace msgpack::type;
  return value.type == FLOAT32 || value.type == FLOAT64 || value.type == POSITIVE_INTEGER ||
         value.type == NEGATIVE_INTEGER;
}

float as_float(const msgpack::object& number) {
  switch (number.type) {
  case msgpack::type::POSITIVE_INTEGER:
    return static_cast<float>(number.via.u64);
  case msgpack::type::NEGATIVE_INTEGER:
    return static_cast<float>(number.via.i64);
  default: {
    constexpr double largest = std::numeric_limits<float>::max();
    double value = number.via.f64; // narrowing what float cannot hold is undefined
    if (value > largest)
      return std::numeric_limits<float>::infinity();
    return value < -largest ? -std::numeric_limits<float>::infinity() : static_cast<float>(value);
  }
  }
}

std::optional<int32_t> as_token(const msgpack::object& value) {
  constexpr uint64_t largest = std::numeric_limits<int32_t>::max();
  if (value.type != msgpack::type::POSITIVE_INTEGER || value.via.u64 > largest)
    return std::nullopt;
  return static_cast<int32_t>(value.via.u64);
}

std::optional<std::string_view> as_text(const msgpack::object& value) {
  if (value.type != msgpack::type::STR)
    return std::nullopt;
  return std::string_view(value.via.str.ptr, value.via.str.size);
}

void field_reader::fail(ec code, std::string message) {
  if (!problem_)
    problem_ = error{code, std::move(message)};
}

const msgpack::object* field_reader::find(std::string_view name) const {
  const auto& map = map_->via.map;
  for (const auto* field = map.ptr; field != map.ptr + map.size; ++field)
    if (as_text(field->key) == name)
      return &field->val;
  return nullptr;
}

const msgpack::object* field_reader::need(std::string_view name) {
  const auto* value = find(name);
  if (value == nullptr)
    fail(ec::bad_frame, "field '" + std::string(name) + "' is missing");
  return value;
}

void field_reader::boolean(std::string_view name, bool& out) {
  const auto* value = problem_ ? nullptr : find(name);
  if (value == nullptr)
    return;
  if (value->type != msgpack::type::BOOLEAN)
    problem_ = wrong(name, "true or false");
  else
    out = value->via.boolean;
}

void field_reader::number(std::string_view name, float& out) {
  const auto* value = problem_ ? nullptr : find(name);
  if (value == nullptr)
    return;
  if (!is_number(*value))
    problem_ = wrong(name, "a number");
  else
    out = as_float(*value);
}

void field_reader::text(std::string_view name, std::string& out, size_t limit_bytes) {
  const auto* value = problem_ ? nullptr : find(name);
  if (value == nullptr)
    return;
  auto text = as_text(*value);
  if (!text || !is_utf8(*text))
    problem_ = wrong(name, "a UTF-8 string");
  else if (text->size() > limit_bytes)
    problem_ = wrong(name, "at most " + std::to_string(limit_bytes) + " bytes long");
  else
    out = *text;
}

const msgpack::object_array* field_reader::array(std::string_view name, size_t limit) {
  const auto* value = problem_ ? nullptr : find(name);
  if (value == nullptr)
    return nullptr;
  if (value->type == msgpack::type::ARRAY && value->via.array.size <= limit)
    return &value->via.array;
  problem_ = wrong(name, "an array of at most " + std::to_string(limit) + " elements");
  return nullptr;
}

void field_reader::tokens(std::string_view name, std::vector<int32_t>& out, size_t limit) {
  const auto* items = array(name, limit);
  if (items == nullptr)
    return;
  out.clear();
  out.reserve(items->size);
  for (const auto* item = items->ptr; item != items->ptr + items->size; ++item) {
    auto token = as_token(*item);
    if (!token) {
      problem_ = wrong(name, "an array of token ids, 0 to 2147483647");
      return;
    }
    out.push_back(*token);
  }
}

void field_reader::numbers(std::string_view name, std::vector<float>& out, size_t limit) {
  const auto* items = array(name, limit);
  if (items == nullptr)
    return;
  out.clear();
  out.reserve(items->size);
  for (const auto* item = items->ptr; item != items->ptr + items->size; ++item) {
    if (!is_number(*item)) {
      problem_ = wrong(name, "an array of numbers");
      return;
    }
    out.push_back(as_float(*item));
  }
}

void field_reader::texts(std::string_view name, std::vector<std::string>& out, size_t limit,
                         size_t limit_bytes) {
  const auto* items = array(name, limit);
  if (items == nullptr)
    return;
  out.clear();
  for (const auto* item = items->ptr; item != items->ptr + items->size; ++item) {
    auto text = as_text(*item);
    if (!text || !is_utf8(*text) || text->empty() || text->size() > limit_bytes) {
      problem_ = wrong(name, "an array of UTF-8 strings of 1 to " + std::to_string(limit_bytes) +
                                 " bytes");
      return;
    }
    out.emplace_back(*text);
  }
}

std::optional<uint64_t> field_reader::unsigned_value(std::string_view name, uint64_t max) {
  const auto* value = problem_ ? nullptr : find(name);
  if (value == nullptr)
    return std::nullopt;
  if (value->type == msgpack::type::POSITIVE_INTEGER && value->via.u64 <= max)
    return value->via.u64;
  problem_ = wrong(name, "a whole number from 0 to " + std::to_string(max));
  return std::nullopt;
}

} // namespace coel::net
