#include "bench/tiers/recording.hpp"

#include "compute/quant.hpp"
#include "cpu/device.hpp"
#include "model/runner.hpp"
#include "model/tokenizer.hpp"

#include <cmath>
#include <fstream>
#include <iterator>

namespace coel::bench {

namespace {

uint32_t u32(const char* p) {
  uint32_t x = 0;
  for (int i = 3; i >= 0; --i)
    x = x << 8 | static_cast<uint8_t>(p[i]);
  return x;
}

/// Norm and router of each layer, as floats: gain times row, so that one product does both.
struct router {
  std::vector<float> rows; // [experts, hidden]
};

result<std::vector<router>> routers_of(const model::source& from) {
  const auto& c = from.config();
  std::vector<router> all;
  for (uint32_t l = 0; l < c.layers; ++l) {
    auto gain = from.matrix({model::role::ffn_norm, static_cast<layer_id>(l), {}});
    auto rows = from.matrix({model::role::router, static_cast<layer_id>(l), {}});
    if (!gain || !rows)
      return gain ? rows.err() : gain.err();
    auto g = compute::to_f32(*gain);
    router r{compute::to_f32(*rows)};
    for (size_t i = 0; i < r.rows.size(); ++i)
      r.rows[i] *= g[i % c.hidden];
    all.push_back(std::move(r));
  }
  return all;
}

void ask_router(const router& r, const float* x, uint32_t hidden, float eps, float* out,
                uint32_t experts) {
  double square = 0;
  for (uint32_t h = 0; h < hidden; ++h)
    square += double{x[h]} * x[h];
  auto scale = static_cast<float>(1 / std::sqrt(square / hidden + eps));
  for (uint32_t e = 0; e < experts; ++e) {
    float sum = 0;
    for (uint32_t h = 0; h < hidden; ++h)
      sum += r.rows[size_t{e} * hidden + h] * x[h];
    out[e] = sum * scale;
  }
}

} // namespace

result<recording> read_routing(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  if (!in)
    return {ec::io, path.string() + ": cannot read"};
  if (bytes.size() < 24 || bytes.compare(0, 8, "COELROUT") != 0 || u32(bytes.data() + 8) != 1)
    return {ec::bad_file, path.string() + ": not a routing file"};
  recording r;
  r.shape = {u32(bytes.data() + 12), u32(bytes.data() + 16), u32(bytes.data() + 20)};
  size_t row = size_t{r.shape.layers} * r.shape.top_k;
  if (row == 0 || row > 1 << 16)
    return {ec::bad_file, path.string() + ": its header makes no sense"};
  for (size_t at = 24; at + 2 * row <= bytes.size(); at += 2 * row)
    for (size_t i = 0; i < row; ++i) {
      auto low = static_cast<uint8_t>(bytes[at + 2 * i]);
      auto high = static_cast<uint8_t>(bytes[at + 2 * i + 1]);
      auto id = static_cast<uint16_t>(low | high << 8);
      if (id >= r.shape.experts)
        return {ec::bad_file, path.string() + ": names an expert that the model does not have"};
      r.ids.push_back(id);
    }
  return r;
}

result<recording> record_model(const std::filesystem::path& path, const std::filesystem::path& text,
                               size_t tokens, uint32_t window) {
  auto source = model::open_model(path);
  if (!source)
    return source.err();
  auto device = cpu::make_device({0, "", 0, false});
  if (!device)
    return device.err();
  auto tokenizer = model::make_tokenizer((*source)->vocabulary());
  if (!tokenizer)
    return tokenizer.err();
  std::ifstream in(text, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(in), {}};
  auto all = (*tokenizer)->encode(content, true, false);
  all.resize(std::min(all.size(), tokens));
  auto run = model::runner::load(*source, *device, {window, window, 1});
  if (!run)
    return run.err();
  auto routers = routers_of(**source);
  if (!routers)
    return routers.err();
  const auto& c = (*run)->config();
  recording r{{c.layers, c.experts, c.top_k}, {}, {}};
  r.ids.resize(all.size() * c.layers * c.top_k);
  r.gates.resize(all.size() * c.layers * 3 * c.experts);
  size_t first = 0;
  std::vector<float> hidden;
  (*run)->observe_routing([&](uint32_t at, layer_id layer, std::span<const int32_t> ids) {
    auto l = index(layer);
    size_t rows = ids.size() / c.top_k;
    hidden.resize(rows * c.hidden);
    (*device)->read(hidden.data(), (*run)->buffers().residual->data(),
                    hidden.size() * sizeof(float));
    for (size_t i = 0; i < rows; ++i) {
      size_t step = (first + at + i) * c.layers + l;
      for (uint32_t k = 0; k < c.top_k; ++k)
        r.ids[step * c.top_k + k] = static_cast<uint16_t>(ids[i * c.top_k + k]);
      for (uint32_t ahead = 1; ahead <= 3 && l + ahead < c.layers; ++ahead)
        ask_router((*routers)[l + ahead], hidden.data() + i * c.hidden, c.hidden, c.rms_eps,
                   r.gates.data() + (step * 3 + ahead - 1) * c.experts, c.experts);
    }
  });
  for (; first < all.size(); first += window) {
    (*run)->reset();
    std::span<const int32_t> slice(all);
    if (auto ok = (*run)->feed(slice.subspan(first, std::min<size_t>(window, all.size() - first)));
        !ok)
      return ok.err();
  }
  return r;
}

} // namespace coel::bench
