// One GGUF file from bytes: header, metadata, tensor infos and where their data lies.
#pragma once

#include "model/gguf.hpp"

#include <span>

namespace coel::model {

/// Reads one file into a gguf_file. A failed read is remembered and makes all later ones fail.
class gguf_parser {
 public:
  gguf_parser(gguf_file& into, mapped_file_ptr file);

  /// Errors: bad_file, unsupported; the message names the file.
  result<void> parse();

 private:
  struct tensor_info {
    std::string name;
    gguf_tensor tensor;
    uint64_t offset = 0; // from the beginning of the data
  };
  struct extent {
    uint64_t begin = 0, end = 0; // in the file
    const std::string* name = nullptr;
  };

  void fail(std::string why, ec code = ec::bad_file);
  bool failed() const { return failure_.code != ec::none; }
  uint64_t left() const { return bytes_.size() - at_; }

  void copy(void* to, uint64_t n);
  template <class T>
  T read() {
    T x{};
    copy(&x, sizeof x);
    return x;
  }
  uint64_t count(uint64_t most, uint64_t least_bytes, const char* what);
  std::string read_string();
  void read_header();
  void read_pair();
  gguf_value read_scalar(uint32_t kind);
  gguf_value read_array();
  void set_alignment(const gguf_value& value);
  tensor_info read_info();
  void place(std::vector<tensor_info>& infos);
  extent locate(tensor_info& info, uint64_t base);
  void refuse_overlaps(std::vector<extent> extents);

  gguf_file& into_;
  mapped_file_ptr file_;
  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
  uint64_t alignment_ = 32;
  uint64_t tensors_ = 0;
  uint64_t pairs_ = 0;
  uint64_t items_left_ = 1 << 24; // of all arrays together: far above any vocabulary
  error failure_{ec::none, {}};
};

} // namespace coel::model
