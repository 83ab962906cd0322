#include "model/gguf_parser.hpp"
#include "model/quoted.hpp"

#include <cctype>
#include <cstdio>

namespace coel::model {

namespace {

constexpr uint64_t max_parts = 1000;

/// "x-00002-of-00003.gguf" -> stem "x"; nullopt if the name is not of that form.
std::optional<std::string> split_stem(const std::string& name) {
  constexpr std::string_view tail = "-#####-of-#####.gguf";
  if (name.size() <= tail.size())
    return std::nullopt;
  auto start = name.size() - tail.size();
  for (size_t i = 0; i < tail.size(); ++i) {
    auto c = static_cast<unsigned char>(name[start + i]);
    if (tail[i] == '#' ? !std::isdigit(c) : c != tail[i])
      return std::nullopt;
  }
  return name.substr(0, start);
}

std::string part_name(const std::string& stem, uint64_t part, uint64_t parts) {
  char tail[40];
  std::snprintf(tail, sizeof tail, "-%05u-of-%05u.gguf", static_cast<unsigned>(part),
                static_cast<unsigned>(parts));
  return stem + tail;
}

} // namespace

result<gguf_file> gguf_file::open(const std::filesystem::path& path) {
  auto file = open_part(path);
  if (!file)
    return file;
  auto parts = file->number("split.count").value_or(1);
  if (parts <= 1)
    return file;
  auto stem = split_stem(path.filename().string());
  if (!stem || parts > max_parts)
    return {ec::bad_file, path.string() + ": one of " + std::to_string(parts) +
                              " parts, but its name is not NAME-00001-of-0000N.gguf"};
  return open_split(path.parent_path(), *stem, parts);
}

result<gguf_file> gguf_file::open_part(const std::filesystem::path& path) {
  auto mapped = mapped_file::open(path);
  if (!mapped)
    return mapped.err();
  gguf_file file;
  if (auto ok = gguf_parser(file, *mapped).parse(); !ok)
    return ok.err();
  file.files_.push_back(*mapped);
  return file;
}

/// The first part's metadata speaks for all; the others must agree on what they are.
result<gguf_file> gguf_file::open_split(const std::filesystem::path& folder,
                                        const std::string& stem, uint64_t parts) {
  gguf_file whole;
  for (uint64_t i = 0; i < parts; ++i) {
    auto path = folder / part_name(stem, i + 1, parts);
    auto part = open_part(path);
    if (!part)
      return part;
    if (part->number("split.count") != parts || part->number("split.no") != i)
      return {ec::bad_file, path.string() +
                                ": split.no and split.count do not say that it is part " +
                                std::to_string(i + 1) + " of " + std::to_string(parts)};
    if (i == 0) {
      whole = std::move(*part);
      continue;
    }
    whole.tensors_.merge(part->tensors_);
    if (!part->tensors_.empty())
      return {ec::bad_file, path.string() + ": tensor " + in_quotes(part->tensors_.begin()->first) +
                                " is in an earlier part too"};
    whole.files_.push_back(part->files_.front());
  }
  auto total = whole.number("split.tensors.count");
  if (total && *total != whole.tensors_.size())
    return {ec::bad_file, whole.files_.front()->path().string() + ": split.tensors.count is " +
                              std::to_string(*total) + ", the parts hold " +
                              std::to_string(whole.tensors_.size()) + " tensors"};
  return whole;
}

const gguf_value* gguf_file::find(std::string_view key) const {
  auto i = metadata_.find(key);
  return i == metadata_.end() ? nullptr : &i->second;
}

const std::string* gguf_file::text(std::string_view key) const {
  auto* v = find(key);
  return v ? std::get_if<std::string>(v) : nullptr;
}

std::optional<uint64_t> gguf_file::number(std::string_view key) const {
  auto* v = find(key);
  if (auto* u = v ? std::get_if<uint64_t>(v) : nullptr)
    return *u;
  if (auto* i = v ? std::get_if<int64_t>(v) : nullptr; i && *i >= 0)
    return static_cast<uint64_t>(*i);
  return std::nullopt;
}

std::optional<double> gguf_file::real(std::string_view key) const {
  auto* v = find(key);
  if (auto* d = v ? std::get_if<double>(v) : nullptr)
    return *d;
  return std::nullopt;
}

std::optional<bool> gguf_file::flag(std::string_view key) const {
  auto* v = find(key);
  if (auto* b = v ? std::get_if<bool>(v) : nullptr)
    return *b;
  return std::nullopt;
}

const gguf_tensor* gguf_file::tensor(std::string_view name) const {
  auto i = tensors_.find(name);
  return i == tensors_.end() ? nullptr : &i->second;
}

} // namespace coel::model
