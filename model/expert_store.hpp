// A file beside a model: its routed experts as one kind of device lays them out, each in one piece
// that begins on a page, so that a read brings it where it runs and nothing is left to do. The
// format is in docs/formats.md; `coel pack` writes it. A model runs without one too.
#pragma once

#include "common/memory_needs.hpp"
#include "compute/device.hpp"
#include "compute/kept_layout.hpp"
#include "compute/ops.hpp"
#include "model/direct_file.hpp"
#include "model/read_queue.hpp"
#include "model/source.hpp"

#include <functional>

namespace coel::model {

struct store_header;

/// Beside the model, by name: MODEL.experts.
std::filesystem::path usual_store_path(const std::filesystem::path& model);

class expert_store {
 public:
  /// Errors: io, bad_file (no store, or damaged), unsupported (of another model, another layout or
  /// another version): these say what to do.
  static result<std::shared_ptr<const expert_store>>
  open(const std::filesystem::path& path, const source_ptr& of, const compute::kept_layout& layout);

  const std::filesystem::path& path() const { return file_->path(); }
  /// All of an expert: whole pages, to be read into memory of the device of as many bytes.
  file_piece piece(expert_key key) const;
  const std::vector<uint64_t>& resident_bytes() const { return bytes_; } ///< [layers, experts]
  uint64_t largest() const { return largest_; } ///< bytes
  uint64_t all() const { return all_; }
  /// An expert takes its own size then, and is read where it stays.
  void tell(memory_needs& needs) const;

  /// Whether these are the bytes that were packed. Errors: bad_file. Takes a while.
  result<void> check(expert_key key, std::span<const std::byte> bytes) const;
  /// The expert whose piece was read into this memory, which it keeps. Errors: those of
  /// kept_layout::adopt.
  result<std::shared_ptr<compute::expert_weights>> adopt(expert_key key,
                                                         compute::buffer_ptr memory) const;

 private:
  struct entry {
    uint64_t offset = 0, bytes = 0, checksum = 0;
  };
  expert_store(source_ptr of, const compute::kept_layout& layout, direct_file_ptr file)
      : source_(std::move(of)), layout_(layout), file_(std::move(file)) {}
  result<void> take(const store_header& h);
  size_t slot(expert_key key) const {
    return size_t{index(key.layer)} * source_->config().experts + index(key.expert);
  }

  source_ptr source_;
  const compute::kept_layout& layout_;
  direct_file_ptr file_;
  std::vector<entry> entries_; // [layers, experts]
  std::vector<uint64_t> bytes_;
  uint64_t largest_ = 0, all_ = 0;
};
using expert_store_ptr = std::shared_ptr<const expert_store>;

struct store_writing {
  uint32_t threads = 0; ///< 0: one a core
  std::function<void(uint64_t done, uint64_t total)> progress; ///< bytes; may be empty
};

/// Replaces the file only when the new one is whole and on disk. Returns its size. Errors: io (with
/// how much room it takes where there is none), bad_file (the model is damaged), busy (another
/// process writes it).
result<uint64_t> write_expert_store(const source_ptr& of, const compute::kept_layout& layout,
                                    const std::filesystem::path& path, const store_writing& how);

} // namespace coel::model
