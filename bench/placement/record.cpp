#include "bench/placement/record.hpp"

#include "cpu/device.hpp"
#include "model/mapped_file.hpp"
#include "model/runner.hpp"
#include "model/tokenizer.hpp"

#include <string_view>

namespace coel::bench {

namespace {

constexpr std::string_view separator = "<|endoftext|>";
constexpr size_t least_tokens = 64;

std::vector<std::string_view> pieces(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    auto end = text.find(separator);
    out.push_back(text.substr(0, end));
    text = end == text.npos ? std::string_view() : text.substr(end + separator.size());
  }
  return out;
}

/// One session: tokens through the model, their experts into the trace.
result<void> add_session(model::runner& run, std::span<const int32_t> tokens, uint32_t session,
                         policy::routing_trace& out) {
  std::vector<uint16_t> paths(tokens.size() * out.row());
  run.reset();
  run.observe_routing([&](uint32_t first, layer_id layer, std::span<const int32_t> ids) {
    for (size_t i = 0; i < ids.size(); ++i)
      paths[(first + i / out.shape.top_k) * out.row() + size_t{index(layer)} * out.shape.top_k +
            i % out.shape.top_k] = static_cast<uint16_t>(ids[i]);
  });
  auto fed = run.feed(tokens);
  if (!fed)
    return fed.err();
  for (size_t t = 0; t < tokens.size(); ++t)
    out.append(std::span(paths).subspan(t * out.row(), out.row()), session);
  return {};
}

} // namespace

result<policy::routing_trace> record_routing(const record_options& options) {
  auto source = model::open_model(options.model);
  if (!source)
    return source.err();
  auto tokenizer = model::make_tokenizer((*source)->vocabulary());
  if (!tokenizer)
    return tokenizer.err();
  auto device = cpu::make_device({options.threads, "", 0, true});
  if (!device)
    return device.err();
  auto run = model::runner::load(*source, *device, {options.session_tokens, 512, 1});
  if (!run)
    return run.err();
  const auto& config = (*source)->config();
  policy::routing_trace out{{config.layers, config.experts, config.top_k}, {}, {}};
  for (size_t domain = 0; domain < options.texts.size(); ++domain) {
    auto file = model::mapped_file::open(options.texts[domain]);
    if (!file)
      return file.err();
    auto bytes = (*file)->bytes();
    uint32_t done = 0;
    for (auto piece : pieces({reinterpret_cast<const char*>(bytes.data()), bytes.size()})) {
      auto all = (*tokenizer)->encode(piece, true, false);
      for (size_t from = 0; from + least_tokens <= all.size() && done < options.sessions;
           from += options.session_tokens) {
        auto n = std::min<size_t>(options.session_tokens, all.size() - from);
        auto session = static_cast<uint32_t>(domain * sessions_of_a_domain + done++);
        if (auto ok = add_session(**run, std::span(all).subspan(from, n), session, out); !ok)
          return ok.err();
      }
    }
  }
  return out;
}

} // namespace coel::bench
