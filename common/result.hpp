// Errors are values: every function that can fail on input returns result<T>.
#pragma once

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace coel {

/// Every way in which CoEL refuses. The text of each is in error.cpp; apps receive it as a code.
enum class ec : uint8_t {
  none = 0,
  unspecified,
  io,               ///< the operating system refused (file, socket, memory map)
  bad_file,         ///< a model file, config or tokenizer is not what it claims to be
  unsupported,      ///< well-formed, but of a kind this build does not run
  bad_argument,     ///< an option or request field is out of range
  bad_frame,        ///< bytes from a socket that do not parse
  version_mismatch, ///< the peer speaks another protocol version
  unknown_model,    ///< no model of that name is loaded
  unknown_request,  ///< cancel or trace of a request that is not there
  busy,             ///< a bounded queue or the KV budget is full: try later
  too_long,         ///< prompt plus answer exceeds context or KV budget: will never fit
  deadline,         ///< the request's deadline passed
  cancelled,        ///< the client or the operator stopped it
  out_of_memory,    ///< a budget would be exceeded
  expert_not_here,  ///< the node does not hold the expert asked for
  device_lost,      ///< the device failed; work must move
  shutting_down,    ///< the node drains
  helper_only,      ///< the node runs experts for others, who answer for the model
  internal,         ///< a bug: please report
};

inline constexpr uint8_t ec_count = static_cast<uint8_t>(ec::internal) + 1;

/// Stable name of a code, as it appears in the app protocol ("bad_file").
std::string_view to_string(ec code);

/// Code by its stable name; ec::unspecified if unknown.
ec ec_from_name(std::string_view name);

/// A failure: a code for programs, a sentence that says what to do for people.
struct error {
  ec code = ec::unspecified;
  std::string message;
};

/// "bad_file: model.gguf: tensor data ends at ..." for logs and terminals.
std::string to_string(const error& e);

template <class T>
class [[nodiscard]] result {
 public:
  result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  result(error e) : state_(std::in_place_index<1>, std::move(e)) {}
  result(ec code, std::string message)
      : state_(std::in_place_index<1>, error{code, std::move(message)}) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    assert(ok());
    return std::get<0>(state_);
  }
  const T& value() const& {
    assert(ok());
    return std::get<0>(state_);
  }
  T&& value() && {
    assert(ok());
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const error& err() const {
    assert(!ok());
    return std::get<1>(state_);
  }

 private:
  std::variant<T, error> state_;
};

/// Success without a value.
template <>
class [[nodiscard]] result<void> {
 public:
  result() = default;
  result(error e) : error_(std::move(e)), ok_(false) {}
  result(ec code, std::string message) : error_{code, std::move(message)}, ok_(false) {}

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const error& err() const {
    assert(!ok_);
    return error_;
  }

 private:
  error error_;
  bool ok_ = true;
};

} // namespace coel
