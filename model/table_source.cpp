#include "model/table_source.hpp"

#include <algorithm>
#include <map>

namespace coel::model {

namespace {

std::string describe(const matrix_shape& s) {
  return "[" + std::to_string(s.rows) + ", " + std::to_string(s.cols) + "]";
}

} // namespace

result<source_ptr> table_source::make(const std::filesystem::path& path, model_config config,
                                      tokenizer_data vocabulary, source_info about,
                                      std::vector<mapped_file_ptr> files, const locate& where) {
  auto refuse = [&](const std::string& why) {
    return error{ec::bad_file, path.string() + ": " + why};
  };
  if (auto ok = check(config); !ok)
    return refuse(ok.err().message);
  if (vocabulary.tokens.size() > config.vocab)
    return refuse("the vocabulary has " + std::to_string(vocabulary.tokens.size()) +
                  " tokens, the embedding only " + std::to_string(config.vocab));
  auto s = std::make_shared<table_source>();
  for (const auto& key : required_tensors(config)) {
    auto found = where(key);
    if (!found)
      return found.err();
    auto want = *required_shape(config, key.what);
    if (matrix_shape is{found->view.rows, found->view.cols}; is != want)
      return refuse("tensor '" + found->name + "' is " + describe(is) +
                    ", the configuration requires " + describe(want));
    s->tensors_.emplace(slot(key), std::move(found->view));
  }
  s->config_ = std::move(config);
  s->vocabulary_ = std::move(vocabulary);
  s->info_ = std::move(about);
  s->files_ = std::move(files);
  for (const auto& file : s->files_)
    s->info_.file_bytes += file->bytes().size();
  s->count_types();
  return source_ptr(std::move(s));
}

void table_source::count_types() {
  std::map<dtype, uint64_t> bytes;
  for (const auto& [slot, view] : tensors_) {
    bytes[view.type] += view.bytes();
    info_.parameters += view.rows * view.cols;
  }
  info_.bytes_by_type.assign(bytes.begin(), bytes.end());
  std::sort(info_.bytes_by_type.begin(), info_.bytes_by_type.end(),
            [](const auto& a, const auto& b) { return a.second > b.second; });
}

result<compute::matrix_view> table_source::matrix(const tensor_key& key) const {
  auto i = tensors_.find(slot(key));
  if (i == tensors_.end())
    return {ec::bad_file, "the model has no tensor " +
                              gguf_tensor_name(key.what, index(key.layer)) + " (expert " +
                              to_string(key.expert) + ")"};
  return i->second;
}

void table_source::release(const compute::matrix_view& copied) const {
  for (const auto& file : files_) {
    auto bytes = file->bytes();
    if (copied.data < bytes.data() || copied.data >= bytes.data() + bytes.size())
      continue;
    auto extent = (copied.rows - 1) * copied.stride_bytes + row_bytes(copied.type, copied.cols);
    auto rest = static_cast<uint64_t>(bytes.data() + bytes.size() - copied.data);
    file->release(copied.data, std::min(extent, rest));
  }
}

result<file_extent> table_source::extent(const compute::matrix_view& of) const {
  for (size_t i = 0; i < files_.size(); ++i) {
    auto bytes = files_[i]->bytes();
    if (of.data >= bytes.data() && of.data < bytes.data() + bytes.size())
      return file_extent{i, static_cast<uint64_t>(of.data - bytes.data())};
  }
  return {ec::unsupported, "a matrix that does not lie in the model's files"};
}

void table_source::expect_single_rows() const {
  for (const auto& file : files_)
    file->expect_single_rows();
}

} // namespace coel::model
