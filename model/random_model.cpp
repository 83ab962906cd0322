#include "model/random_model.hpp"

#include "compute/quant.hpp"
#include "model/family.hpp"
#include "model/gguf_model.hpp"
#include "model/random_model_rows.hpp"

#include <cmath>
#include <cstdlib>
#include <numeric>

namespace coel::model {

namespace {

/// Part of the file name: raise it when the same spec gives other bytes.
constexpr int recipe = 1;

/// Share of the direction that all tokens have in common in the embedding: small, so that it leaves
/// little mark on anything but the routers. And the factor that turns it into logits: chosen so
/// that counted popularity falls with the exponent asked for (0.8 gives 0.77 to 0.90 over the
/// layers of qwen1.5-moe-a2.7b; with no skew at all 0.25 to 0.5 is left, as for any random
/// routers).
constexpr float shared_part = 0.3f;
constexpr float shared_after_norm = 0.35f;

enum class stream : uint64_t { rows, direction, popularity };

random_bits stream_of(uint64_t seed, stream kind, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0) {
  uint64_t s = seed;
  for (uint64_t x : {static_cast<uint64_t>(kind), a, b, c})
    s = random_bits(s ^ (x + 1) * 0xd1342543de82ef95u).next();
  return random_bits(s);
}

/// Standard deviations that keep a deep model's residual stream near unit size: matrices that read
/// it have gain of about one, those that write to it share a total variance of about two.
float sigma_of(const model_config& c, const stored_tensor& t) {
  float in = 1 / std::sqrt(static_cast<float>(t.cols));
  float branch = 1.4f / std::sqrt(2 * static_cast<float>(c.layers));
  switch (t.what) {
  case role::attn_q:
  case role::attn_k:
    return 1.4f * in; // attention scores of deviation two
  case role::attn_v:
  case role::shared_router:
    return in;
  case role::expert_gate:
  case role::expert_up:
  case role::shared_gate:
  case role::shared_up:
  case role::router:
    return 1.5f * in;
  case role::attn_output:
  case role::expert_down:
  case role::shared_down:
    return branch * in;
  case role::output:
    return 3 * in; // logits of deviation three
  case role::attn_q_bias:
  case role::attn_k_bias:
    return 0.3f;
  case role::token_embedding:
    return std::sqrt(1 - shared_part * shared_part);
  default:
    return 0.1f; // norms, around one; the bias of v
  }
}

bool is_norm(role what) {
  switch (what) {
  case role::output_norm:
  case role::attn_norm:
  case role::ffn_norm:
  case role::attn_q_norm:
  case role::attn_k_norm:
    return true;
  default:
    return false;
  }
}

class weights_maker {
 public:
  weights_maker(const random_model_spec& spec, const std::vector<stored_tensor>& tensors)
      : spec_(spec), tensors_(tensors), direction_(spec.shape.hidden) {
    auto random = stream_of(spec.seed, stream::direction);
    for (auto& x : direction_)
      x = random.below(2) ? 1.f : -1.f;
  }

  result<void> make(const row_chunk& chunk, std::span<std::byte> out) const {
    const auto& t = tensors_[chunk.tensor];
    auto random = stream_of(spec_.seed, stream::rows, chunk.tensor, chunk.member, chunk.first_row);
    bool plain = t.what != role::token_embedding && t.what != role::router && !is_norm(t.what);
    if (plain)
      draw_row(t.type, random, sigma_of(spec_.shape, t), out.data(), chunk.rows * t.cols);
    else
      draw_special(t, chunk, random, out);
    return {};
  }

 private:
  /// Gaussian plus a mean: one for norms, the shared direction for embedding and router.
  void draw_special(const stored_tensor& t, const row_chunk& chunk, random_bits& random,
                    std::span<std::byte> out) const {
    float sigma = sigma_of(spec_.shape, t);
    auto bias = t.what == role::router ? popularity(t.layer) : std::vector<float>();
    std::vector<float> row(t.cols);
    for (uint64_t r = 0; r < chunk.rows; ++r) {
      draw_gaussian(random, row.data(), t.cols);
      float mean = is_norm(t.what) ? 1.f : 0.f;
      for (auto& x : row)
        x = sigma * x + mean;
      if (t.what == role::token_embedding)
        add_shared(row, shared_part);
      if (t.what == role::router) // nothing by chance, all by popularity
        add_shared(row, bias[chunk.first_row + r] - shared_of(row));
      compute::quantise_row(t.type, row.data(), out.data() + r * t.row_size(), t.cols);
    }
  }

  float shared_of(const std::vector<float>& row) const {
    return std::inner_product(row.begin(), row.end(), direction_.begin(), 0.f) /
           static_cast<float>(row.size());
  }
  void add_shared(std::vector<float>& row, float amount) const {
    for (size_t i = 0; i < row.size(); ++i)
      row[i] += amount * direction_[i];
  }

  /// Per expert the weight on the shared direction that shifts its logit by -skew ln(rank), ranks
  /// in a random order of their own for every layer.
  std::vector<float> popularity(layer_id layer) const {
    const auto& c = spec_.shape;
    auto random = stream_of(spec_.seed, stream::popularity, index(layer));
    std::vector<float> bias(c.experts);
    for (uint32_t e = 0; e < c.experts; ++e)
      bias[e] = -spec_.skew * std::log(static_cast<float>(e + 1));
    for (uint32_t e = c.experts; e > 1; --e)
      std::swap(bias[e - 1], bias[random.below(e)]);
    float mean = std::accumulate(bias.begin(), bias.end(), 0.f) / static_cast<float>(c.experts);
    for (auto& b : bias)
      b = (b - mean) / (shared_after_norm * static_cast<float>(c.hidden));
    return bias;
  }

  const random_model_spec& spec_;
  const std::vector<stored_tensor>& tensors_;
  std::vector<float> direction_; // [hidden], every element 1 or -1
};

std::string file_name(const random_model_spec& spec) {
  char tail[96];
  std::snprintf(tail, sizeof tail, "-%s-skew%.2f-seed%llu-r%d.gguf", to_string(spec.type).data(),
                static_cast<double>(spec.skew), static_cast<unsigned long long>(spec.seed), recipe);
  return "random-" + spec.shape.name + tail;
}

bool is_whole(const std::filesystem::path& path, const model_config& shape) {
  if (!std::filesystem::exists(path))
    return false;
  auto there = open_gguf(path);
  return there.ok() && (*there)->config().name == shape.name &&
         required_tensors((*there)->config()).size() == required_tensors(shape).size();
}

} // namespace

result<void> write_random_model(const std::filesystem::path& path, const random_model_spec& spec,
                                uint32_t threads, const write_progress& progress) {
  if (!(spec.skew >= 0 && spec.skew <= 4))
    return {ec::bad_argument, "the skew of expert popularity must lie between 0 and 4"};
  auto tensors = plan_tensors(spec.shape, spec.type);
  auto metadata = file_metadata(spec.shape, synthetic_vocabulary(spec.shape.vocab), spec.type);
  weights_maker weights(spec, tensors);
  auto make = [&](const row_chunk& chunk, std::span<std::byte> out) {
    return weights.make(chunk, out);
  };
  return write_model(path, metadata, tensors, threads, make, progress);
}

result<std::filesystem::path> cached_random_model(const std::filesystem::path& folder,
                                                  const random_model_spec& spec, uint32_t threads,
                                                  const write_progress& progress, bool* made) {
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  if (problem)
    return {ec::io, folder.string() + ": cannot make this folder: " + problem.message()};
  auto path = folder / file_name(spec);
  bool there = is_whole(path, spec.shape);
  if (made)
    *made = !there;
  if (there)
    return path;
  if (auto ok = write_random_model(path, spec, threads, progress); !ok)
    return ok.err();
  return path;
}

std::filesystem::path default_cache_folder() {
  auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value ? value : "");
  };
  if (auto cache = variable("XDG_CACHE_HOME"); cache.is_absolute())
    return cache / "coel";
  if (auto home = variable("HOME"); home.is_absolute())
    return home / ".cache" / "coel";
  return std::filesystem::temp_directory_path() / "coel";
}

} // namespace coel::model
