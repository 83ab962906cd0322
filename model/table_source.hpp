// A source whose tensors have all been found at open: what every file format ends in.
#pragma once

#include "model/family.hpp"
#include "model/mapped_file.hpp"
#include "model/source.hpp"

#include <functional>
#include <unordered_map>

namespace coel::model {

class table_source : public source {
 public:
  struct located {
    std::string name; ///< as the file has it
    compute::matrix_view view;
  };
  /// Where a format keeps the tensor of a role; the error names it as the file does.
  using locate = std::function<result<located>(const tensor_key&)>;

  /// Finds and checks every tensor that the configuration requires. Errors: bad_file, naming
  /// `path`, what it is about and what was expected.
  static result<source_ptr> make(const std::filesystem::path& path, model_config config,
                                 tokenizer_data vocabulary, source_info about,
                                 std::vector<mapped_file_ptr> files, const locate& where);

  const model_config& config() const override { return config_; }
  const tokenizer_data& vocabulary() const override { return vocabulary_; }
  const source_info& info() const override { return info_; }
  bool has(const tensor_key& key) const override { return tensors_.contains(slot(key)); }
  result<compute::matrix_view> matrix(const tensor_key& key) const override;
  void release(const compute::matrix_view& copied) const override;
  result<file_extent> extent(const compute::matrix_view& of) const override;
  bool is_of(size_t file, const file_identity& identity) const override {
    return file < files_.size() && files_[file]->identity() == identity;
  }
  void expect_single_rows() const override;

 private:
  static uint64_t slot(const tensor_key& key) {
    bool in_layer = is_layer_role(key.what), in_expert = is_expert_role(key.what);
    return uint64_t{static_cast<uint8_t>(key.what)} << 32 |
           uint64_t{in_layer ? index(key.layer) : uint16_t{}} << 16 |
           uint64_t{in_expert ? index(key.expert) : uint16_t{}};
  }
  void count_types();

  model_config config_;
  tokenizer_data vocabulary_;
  source_info info_;
  std::vector<mapped_file_ptr> files_;
  std::unordered_map<uint64_t, compute::matrix_view> tensors_;
};

} // namespace coel::model
