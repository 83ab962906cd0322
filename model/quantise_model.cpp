#include "model/quantise_model.hpp"

#include "compute/quant.hpp"
#include "model/family.hpp"

#include <cmath>
#include <cstring>

namespace coel::model {

namespace {

/// Row of the source that becomes row `row` of a q or k matrix. GGUF files of some families rotate
/// neighbouring elements of a head where Hugging Face rotates element i with i + dims/2.
uint64_t interleaved_row(uint64_t row, uint32_t head_dim, uint32_t dims) {
  uint64_t head = row / head_dim, i = row % head_dim;
  return i < dims ? head * head_dim + i / 2 + i % 2 * (dims / 2) : row;
}

class row_reader {
 public:
  explicit row_reader(const source& from)
      : from_(from),
        reorder_(from.config().rope.style != family_of_gguf(from.config().family)->gguf_rope) {}

  result<void> convert(const stored_tensor& to, const row_chunk& chunk,
                       std::span<std::byte> out) const {
    auto matrix = from_.matrix({to.what, to.layer, static_cast<expert_id>(chunk.member)});
    if (!matrix)
      return matrix.err();
    std::vector<float> values(to.cols);
    for (uint64_t r = 0; r < chunk.rows; ++r) {
      uint64_t row = source_row(to.what, chunk.first_row + r);
      auto* target = out.data() + r * to.row_size();
      if (matrix->type == to.type) {
        std::memcpy(target, matrix->row(row), to.row_size());
        continue;
      }
      compute::dequantise_row(matrix->type, matrix->row(row), values.data(), to.cols);
      if (auto ok = check_finite(values, to, chunk, row); !ok)
        return ok;
      compute::quantise_row(to.type, values.data(), target, to.cols);
    }
    from_.release(matrix->row_slice(chunk.first_row, chunk.rows));
    return {};
  }

 private:
  uint64_t source_row(role what, uint64_t row) const {
    const auto& c = from_.config();
    bool rotated = what == role::attn_q || what == role::attn_k;
    return reorder_ && rotated ? interleaved_row(row, c.head_dim, c.rope.dims) : row;
  }

  static result<void> check_finite(const std::vector<float>& values, const stored_tensor& to,
                                   const row_chunk& chunk, uint64_t row) {
    for (float v : values)
      if (!std::isfinite(v))
        return {ec::bad_file, gguf_tensor_name(to.what, index(to.layer)) + ", expert " +
                                  std::to_string(chunk.member) + ", row " + std::to_string(row) +
                                  " holds a weight that is infinite or not a number"};
    return {};
  }

  const source& from_;
  bool reorder_;
};

} // namespace

uint64_t quantise_plan::bytes() const {
  uint64_t sum = 0;
  for (const auto& t : tensors)
    sum += t.bytes();
  return sum;
}

result<quantise_plan> plan_quantisation(const source& from, dtype asked) {
  auto config = from.config();
  auto style = family_of_gguf(config.family)->gguf_rope;
  bool reorder = config.rope.style != style;
  if (reorder &&
      (style != compute::rope_style::interleaved || config.qkv_bias || config.qk != qk_norm::none))
    return {ec::unsupported, config.name +
                                 ": the rotary order of q and k cannot be changed to the one "
                                 "that GGUF prescribes for " +
                                 config.family};
  config.rope.style = style;
  return quantise_plan{file_metadata(config, from.vocabulary(), asked),
                       plan_tensors(config, asked)};
}

result<void> quantise_model(const source& from, const quantise_plan& plan,
                            const std::filesystem::path& out, uint32_t threads,
                            const write_progress& progress) {
  row_reader reader(from);
  auto make = [&](const row_chunk& chunk, std::span<std::byte> rows) {
    return reader.convert(plan.tensors[chunk.tensor], chunk, rows);
  };
  return write_model(out, plan.metadata, plan.tensors, threads, make, progress);
}

} // namespace coel::model
