#include "policy/routing_trace.hpp"

#include <algorithm>
#include <cstring>
#include <map>

namespace coel::policy {

namespace {

constexpr char magic[] = {'C', 'O', 'E', 'L', 'R', 'O', 'U', 'T'};
constexpr size_t header_bytes = 8 + 4 * 4;
constexpr uint32_t most_layers = 4096, most_experts = 65535, most_top_k = 256;

uint32_t u32_at(std::span<const std::byte> b, size_t at) {
  uint32_t x = 0;
  for (size_t i = 0; i < 4; ++i)
    x |= std::to_integer<uint32_t>(b[at + i]) << (8 * i);
  return x;
}

void put_u32(std::vector<char>& out, uint32_t x) {
  for (int i = 0; i < 4; ++i)
    out.push_back(static_cast<char>(x >> (8 * i)));
}

result<uint32_t> parse_header(std::span<const std::byte> file, routing_shape& shape) {
  if (file.size() < header_bytes || std::memcmp(file.data(), magic, sizeof magic) != 0)
    return {ec::bad_file, "no routing file: it does not begin with COELROUT; record one with "
                          "coel-node --record-routing FILE"};
  uint32_t version = u32_at(file, 8);
  if (version != 1 && version != 2)
    return {ec::bad_file,
            "routing file of version " + std::to_string(version) + "; this build reads 1 and 2"};
  shape = {u32_at(file, 12), u32_at(file, 16), u32_at(file, 20)};
  if (!shape.layers || shape.layers > most_layers || !shape.experts ||
      shape.experts > most_experts || !shape.top_k || shape.top_k > most_top_k ||
      shape.top_k > shape.experts)
    return {ec::bad_file, "routing file of " + std::to_string(shape.layers) + " layers, " +
                              std::to_string(shape.experts) + " experts and " +
                              std::to_string(shape.top_k) + " a token: no model is like that"};
  return version;
}

} // namespace

void routing_trace::append(std::span<const uint16_t> path, uint32_t of_session) {
  experts.insert(experts.end(), path.begin(), path.end());
  session.push_back(of_session);
}

result<routing_trace> parse_routing(std::span<const std::byte> file) {
  routing_trace out;
  auto version = parse_header(file, out.shape);
  if (!version)
    return version.err();
  size_t id_bytes = *version == 2 ? 4 : 0, token_bytes = id_bytes + 2 * out.row();
  size_t n = (file.size() - header_bytes) / token_bytes; // a last token may be cut: still written
  out.experts.reserve(n * out.row());
  out.session.reserve(n);
  for (size_t t = 0, at = header_bytes; t < n; ++t, at += token_bytes) {
    out.session.push_back(id_bytes ? u32_at(file, at) : 0);
    for (size_t i = 0; i < out.row(); ++i) {
      size_t p = at + id_bytes + 2 * i;
      auto e = static_cast<uint16_t>(std::to_integer<unsigned>(file[p]) |
                                     std::to_integer<unsigned>(file[p + 1]) << 8);
      if (e >= out.shape.experts)
        return {ec::bad_file, "routing file: token " + std::to_string(t) + " chose expert " +
                                  std::to_string(e) + " of " + std::to_string(out.shape.experts) +
                                  "; the file is damaged, record it again"};
      out.experts.push_back(e);
    }
  }
  return out;
}

std::vector<char> encode_routing(const routing_trace& trace) {
  std::vector<char> out(magic, magic + sizeof magic);
  for (uint32_t x : {2u, trace.shape.layers, trace.shape.experts, trace.shape.top_k})
    put_u32(out, x);
  for (size_t t = 0; t < trace.tokens(); ++t) {
    put_u32(out, trace.session[t]);
    for (auto e : trace.path(t)) {
      out.push_back(static_cast<char>(e));
      out.push_back(static_cast<char>(e >> 8));
    }
  }
  return out;
}

std::vector<char> encode_routing(const routing_trace& trace, size_t most_bytes) {
  size_t token_bytes = 4 + 2 * trace.row();
  return encode_routing(
      thin(trace, (std::max(most_bytes, header_bytes) - header_bytes) / token_bytes));
}

routing_trace pick_tokens(const routing_trace& from, std::span<const size_t> tokens) {
  routing_trace out{from.shape, {}, {}};
  out.experts.reserve(tokens.size() * from.row());
  for (size_t t : tokens)
    out.append(from.path(t), from.session[t]);
  return out;
}

std::vector<std::vector<size_t>> tokens_by_session(const routing_trace& trace) {
  std::map<uint32_t, std::vector<size_t>> by;
  for (size_t t = 0; t < trace.tokens(); ++t)
    by[trace.session[t]].push_back(t);
  std::vector<std::vector<size_t>> out;
  out.reserve(by.size());
  for (auto& [id, tokens] : by)
    out.push_back(std::move(tokens));
  return out;
}

void cut_into_sessions(routing_trace& trace, uint32_t tokens) {
  for (size_t t = 0; t < trace.tokens(); ++t)
    trace.session[t] = static_cast<uint32_t>(t / std::max(1u, tokens));
}

trace_halves split_trace(const routing_trace& trace) {
  auto sessions = tokens_by_session(trace);
  bool whole = sessions.size() >= 4;
  std::map<uint32_t, size_t> rank;
  for (size_t i = 0; i < sessions.size(); ++i)
    rank[trace.session[sessions[i].front()]] = i;
  std::vector<size_t> fit, held_out;
  for (size_t t = 0; t < trace.tokens(); ++t) {
    size_t part = whole ? rank[trace.session[t]] : t / 256;
    (part % 2 ? held_out : fit).push_back(t);
  }
  if (held_out.empty() || fit.empty()) // one block: there is nothing to hold out
    return {trace, trace};
  return {pick_tokens(trace, fit), pick_tokens(trace, held_out)};
}

routing_trace thin(const routing_trace& trace, size_t most) {
  if (trace.tokens() <= most)
    return trace;
  std::vector<size_t> kept;
  for (size_t i = 0; i < most; ++i)
    kept.push_back(i * trace.tokens() / most);
  return pick_tokens(trace, kept);
}

routing_trace with_shared_slices(const routing_trace& trace, uint32_t slices) {
  routing_trace out{{trace.shape.layers, trace.shape.experts + slices, trace.shape.top_k + slices},
                    {},
                    trace.session};
  out.experts.reserve(trace.tokens() * out.row());
  for (size_t t = 0; t < trace.tokens(); ++t)
    for (uint32_t l = 0; l < trace.shape.layers; ++l) {
      auto chosen = trace.at(t, l);
      out.experts.insert(out.experts.end(), chosen.begin(), chosen.end());
      for (uint32_t s = 0; s < slices; ++s)
        out.experts.push_back(static_cast<uint16_t>(trace.shape.experts + s));
    }
  return out;
}

} // namespace coel::policy
