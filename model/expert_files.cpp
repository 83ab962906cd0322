#include "model/expert_files.hpp"

#include "model/memory_needs.hpp"

#include <algorithm>
#include <array>

namespace coel::model {

namespace {

constexpr std::array matrices{role::expert_gate, role::expert_up, role::expert_down};

uint64_t read_bound(const compute::matrix_view& v) {
  return v.bytes() + 2 * direct_file::alignment;
}

} // namespace

result<expert_files> expert_files::open(const source_ptr& from, direct_file::writes allowed) {
  expert_files made(from);
  for (const auto& path : from->info().files) {
    auto file = direct_file::open(path, allowed);
    if (!file)
      return file.err();
    // Somebody who fills a file in changes its time, but not which file it is.
    if (allowed == direct_file::writes::refused &&
        !from->is_of(made.files_.size(), (*file)->identity()))
      return {ec::bad_file,
              path.string() + ": was replaced or written to while it was opened: try again"};
    made.files_.push_back(std::move(*file));
  }
  const auto& c = from->config();
  for (uint32_t l = 0; l < c.layers; ++l)
    for (uint32_t e = 0; e < c.experts; ++e) {
      uint64_t resident = 0, read = 0;
      expert_key key{static_cast<layer_id>(l), static_cast<expert_id>(e)};
      for (auto what : matrices) {
        auto view = from->matrix({what, key.layer, key.expert});
        if (!view)
          return view.err();
        resident += resident_bound(*view);
        read += read_bound(*view);
        made.largest_piece_ = std::max(made.largest_piece_, read_bound(*view));
      }
      made.resident_.push_back(resident);
      made.all_resident_ += resident;
      made.largest_resident_ = std::max(made.largest_resident_, resident);
      made.largest_read_ = std::max(made.largest_read_, read);
      if (auto pieces = made.pieces(key); !pieces)
        return pieces.err();
    }
  return made;
}

result<std::vector<file_piece>> expert_files::pieces(expert_key key) const {
  std::vector<file_piece> all;
  for (auto what : matrices) {
    auto view = source_->matrix({what, key.layer, key.expert});
    if (!view)
      return view.err();
    auto at = source_->extent(*view);
    if (!at)
      return at.err();
    const auto& file = files_[at->file];
    if (at->offset + view->bytes() > file->size())
      return {ec::bad_file, file->path().string() +
                                ": is shorter than when it was opened: put the file back and "
                                "restart the node"};
    all.push_back({file, at->offset, view->bytes()});
  }
  return all;
}

result<compute::matrix_view> expert_files::view_of(expert_key key, uint32_t piece,
                                                   std::span<const std::byte> bytes) const {
  if (piece >= matrices.size())
    return {ec::internal, "an expert has no such matrix"};
  auto view = source_->matrix({matrices[piece], key.layer, key.expert});
  if (!view)
    return view.err();
  if (bytes.size() != view->bytes())
    return {ec::internal, "an expert's bytes are not those of its matrix"};
  view->data = bytes.data();
  view->stride_bytes = row_bytes(view->type, view->cols);
  view->owner = nullptr; // the device copies
  return *view;
}

result<compute::weight_ptr> expert_files::make_piece(compute::device& on, expert_key key,
                                                     uint32_t piece,
                                                     std::span<const std::byte> bytes) const {
  auto view = view_of(key, piece, bytes);
  if (!view)
    return view.err();
  return on.load(*view, compute::weight_use::far_expert);
}

std::shared_ptr<compute::expert_weights> expert_of(const std::vector<compute::weight_ptr>& pieces) {
  auto made = std::make_shared<compute::expert_weights>();
  made->gate = pieces.at(0);
  made->up = pieces.at(1);
  made->down = pieces.at(2);
  for (const auto& p : pieces)
    made->bytes += p->resident_bytes();
  return made;
}

} // namespace coel::model
