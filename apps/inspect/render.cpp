#include "apps/inspect/render.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

namespace coel::inspect {

using nlohmann::json;

namespace {

template <class... Values>
std::string text(const char* format, Values... values) {
  char buffer[512];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return buffer;
}

std::string megabytes(const json& bytes) { return text("%.1f MB", bytes.get<double>() / 1e6); }

/// Eight steps from never to most used; colours of the 256-colour cube from blue to red.
constexpr std::array<const char*, 8> marks{"·", "▁", "▂", "▃", "▄", "▅", "▆", "█"};
constexpr std::array<int, 8> colours{240, 24, 31, 37, 71, 178, 208, 196};

std::string cell(double share, const look& how) {
  auto step = static_cast<size_t>(std::clamp(share * 8, 0.0, 7.0));
  if (share > 0 && step == 0)
    step = 1;
  if (!how.colour)
    return marks[step];
  return "\x1b[38;5;" + std::to_string(colours[step]) + "m" + marks[step] + "\x1b[0m";
}

struct row {
  std::vector<double> routed;
  size_t shared = 0;
  size_t absent = 0;
};

row row_of(const json& layer) {
  row r;
  for (const auto& e : layer.at("experts")) {
    r.absent += e.at("residency") == "absent";
    if (e.at("shared").get<bool>())
      ++r.shared;
    else
      r.routed.push_back(e.at("popularity").get<double>());
  }
  return r;
}

} // namespace

std::string render_status(const json& d, const look&) {
  const auto& n = d.at("node");
  std::string out = "node " + n.at("version").get<std::string>() + ", " + n.at("device").get<std::string>() +
                    text(", %d threads, up %.0f s%s\n", n.at("threads").get<int>(), n.at("uptime_s").get<double>(),
                         n.at("draining").get<bool>() ? ", draining" : "");
  for (const auto& m : d.at("models"))
    out += "model " + m.at("name").get<std::string>() + " (" + m.at("family").get<std::string>() + "): " +
           megabytes(m.at("bytes")) +
           text(" of weights, %d running, %d queued, KV pages %d of %d\n", m.at("sessions").get<int>(),
                m.at("queued").get<int>(), m.at("kv").at("pages_used").get<int>(), m.at("kv").at("pages").get<int>());
  const auto& t = d.at("totals");
  return out + text("%lld requests, %lld tokens in, %lld out, %lld errors\n", t.at("requests").get<long long>(),
                    t.at("tokens_in").get<long long>(), t.at("tokens_out").get<long long>(), t.at("errors").get<long long>());
}

std::string render_actors(const json& d, const look&) {
  std::string out = text("%-16s %-20s %8s %12s %12s\n", "ACTOR", "MODEL", "MAILBOX", "MESSAGES", "BUSY ms");
  for (const auto& a : d.at("actors"))
    out += text("%-16s %-20s %8d %12lld %12.1f\n", a.at("name").get<std::string>().c_str(),
                a.at("model").get<std::string>().c_str(), a.at("mailbox").get<int>(),
                a.at("messages").get<long long>(), a.at("busy_us").get<double>() / 1000);
  return out;
}

std::string render_experts(const json& d, const look& how) {
  std::string out = d.at("model").get<std::string>() + text(": popularity of experts over %lld tokens\n", d.at("tokens").get<long long>());
  double most = 0;
  std::vector<row> rows;
  for (const auto& layer : d.at("layers")) {
    rows.push_back(row_of(layer));
    for (double p : rows.back().routed)
      most = std::max(most, p);
  }
  size_t room = how.width > 30 ? how.width - 24 : 8;
  for (size_t l = 0; l < rows.size(); ++l) {
    const auto& r = rows[l];
    size_t bucket = std::max<size_t>(1, (r.routed.size() + room - 1) / room);
    out += text("%5zu ", l);
    for (size_t i = 0; i < r.routed.size(); i += bucket) {
      double sum = 0;
      size_t n = std::min(bucket, r.routed.size() - i);
      for (size_t k = i; k < i + n; ++k)
        sum += r.routed[k];
      out += cell(most > 0 ? sum / static_cast<double>(n) / most : 0, how);
    }
    if (r.shared)
      out += text("  +%zu shared", r.shared);
    if (r.absent)
      out += text("  %zu absent", r.absent);
    out += "\n";
  }
  out += "      ";
  for (size_t step = 0; step < marks.size(); ++step)
    out += cell(step ? (static_cast<double>(step) + 0.5) / 8 : 0, how);
  return out + text("  from never to %.2f activations a token\n", most);
}

std::string render_sessions(const json& d, const look&) {
  std::string out = text("%8s %-20s %-8s %8s %8s %10s %6s %8s\n", "REQUEST", "MODEL", "STATE", "PROMPT", "ANSWER", "TOKENS/S", "PAGES", "AGE s");
  for (const auto& s : d.at("sessions"))
    out += text("%8lld %-20s %-8s %8d %8d %10.1f %6d %8.1f\n", s.at("request").get<long long>(),
                s.at("model").get<std::string>().c_str(), s.at("state").get<std::string>().c_str(),
                s.at("prompt_tokens").get<int>(), s.at("answer_tokens").get<int>(), s.at("tokens_per_s").get<double>(),
                s.at("kv_pages").get<int>(), s.at("age_ms").get<double>() / 1000);
  return out;
}

std::string render_memory(const json& d, const look&) {
  std::string out = text("%-8s %12s %12s %12s %12s %12s\n", "TIER", "BUDGET", "USED", "WEIGHTS", "KV", "BUFFERS");
  for (const auto& t : d.at("tiers")) {
    auto budget = t.at("budget_bytes").get<uint64_t>() ? megabytes(t.at("budget_bytes")) : std::string("no limit");
    out += text("%-8s %12s %12s %12s %12s %12s\n", t.at("name").get<std::string>().c_str(), budget.c_str(),
                megabytes(t.at("used_bytes")).c_str(), megabytes(t.at("weights_bytes")).c_str(),
                megabytes(t.at("kv_bytes")).c_str(), megabytes(t.at("buffer_bytes")).c_str());
  }
  return out;
}

std::string render_trace(const json& d, const look&) {
  std::string out = text("request %lld\n", d.at("request").get<long long>());
  for (const auto& t : d.at("tokens")) {
    out += text("step %d: %d us\n", t.at("index").get<int>(), t.at("total_us").get<int>());
    for (const auto& h : t.at("hops"))
      out += text("  %8d us  %-10s layer %-3d %8d us\n", h.at("at_us").get<int>(), h.at("actor").get<std::string>().c_str(),
                  h.at("layer").get<int>(), h.at("took_us").get<int>());
  }
  return out;
}

} // namespace coel::inspect
