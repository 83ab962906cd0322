#include "bench/report.hpp"

#include <nlohmann/json.hpp>

#include <cstdarg>
#include <cstdio>

namespace coel::bench {

namespace {

using nlohmann::json;

/// printf onto a string; lines of a table are short.
[[gnu::format(printf, 2, 3)]] void line(std::string& to, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  to += text;
  to += '\n';
}

double giga(uint64_t n) {
  return static_cast<double>(n) / 1e9;
}

/// Empty where the figure has no meaning for the test.
std::string figure(double value) {
  char text[32] = "";
  if (value > 0)
    std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

json as_json(const series& s) {
  return {{"median", s.median()},
          {"least", s.least()},
          {"most", s.most()},
          {"spread", s.spread()},
          {"values", s.values}};
}

json as_json(const tier_use& u) {
  return {{"uses", u.uses},
          {"found", u.found},
          {"foreseen", u.foreseen},
          {"late", u.late},
          {"lower", u.lower},
          {"demand_us", u.demand_us},
          {"recall", u.recall},
          {"layers_ahead", u.layers_ahead},
          {"read_bytes", u.read_bytes},
          {"wasted_bytes", u.wasted_bytes},
          {"stall_us", u.stall_us},
          {"tokens", u.tokens},
          {"disk_bytes_per_s", u.disk_bytes_per_s}};
}

std::string tier_line(const test_result& x) {
  const auto& u = *x.tiers;
  auto per = [](double a, uint64_t b) { return b ? a / static_cast<double>(b) : 0; };
  std::string t;
  line(t,
       "experts  %s: %.1f %% found (%.1f %% read ahead, %.1f %% on their way); a token read %.1f "
       "MB (%.1f MB for nothing), waited %.2f ms; disk %.2f GB/s, %.2f ms a read",
       x.test.c_str(), 100 * per(static_cast<double>(u.found), u.uses),
       100 * per(static_cast<double>(u.foreseen), u.uses),
       100 * per(static_cast<double>(u.late), u.uses),
       per(static_cast<double>(u.read_bytes) / 1e6, u.tokens),
       per(static_cast<double>(u.wasted_bytes) / 1e6, u.tokens),
       per(static_cast<double>(u.stall_us) / 1e3, u.tokens), u.disk_bytes_per_s / 1e9,
       u.demand_us / 1e3);
  if (u.lower)
    line(t, "         %.1f %% ran a copy of fewer bits",
         100 * per(static_cast<double>(u.lower), u.uses));
  std::string recall;
  for (double r : u.recall)
    recall += (recall.empty() ? "" : ", ") + std::to_string(static_cast<int>(100 * r + 0.5));
  line(t, "         predictor: recall %s %% one to three layers ahead, used in %.0f %% of layers",
       recall.c_str(), 100 * u.layers_ahead);
  return t;
}

} // namespace

std::string as_table(const test_results& r) {
  std::string t;
  line(t, "%-14s %-8s %10s %20s %8s %10s", "test", "through", "tokens/s", "least .. most", "GB/s",
       "G mul-add");
  for (const auto& x : r.tests)
    line(t, "%-14s %-8s %10.2f %9.2f .. %7.2f %8s %10s", x.test.c_str(), x.engine.c_str(),
         x.tokens_per_s.median(), x.tokens_per_s.least(), x.tokens_per_s.most(),
         figure(x.read_gb_s).c_str(), figure(x.multiply_adds_g_s).c_str());
  for (const auto& x : r.tests)
    if (x.tiers)
      t += tier_line(x);
  for (const auto& m : r.messaging)
    line(t, "messaging %s: %+.2f %% of the plain loop's time (%+.2f .. %+.2f)", m.test.c_str(),
         m.percent.median(), m.percent.least(), m.percent.most());
  return t;
}

std::string as_table(const model_report& r) {
  std::string t;
  line(t, "model    %s, %.2f B parameters, %.2f GB (%s)", r.model.c_str(), giga(r.parameters),
       giga(r.file_bytes), r.path.c_str());
  line(t, "a token  reads %.3f GB of weights, takes %.3f G multiply-adds", giga(r.cost.bytes),
       giga(r.cost.multiply_adds));
  line(t, "device   %s, %u threads; loaded in %.1f s, %.2f GB resident", r.device.c_str(),
       r.threads, r.load_s, giga(r.resident_bytes));
  return t + as_table(r.results);
}

namespace {

json tests_json(const test_results& r) {
  json tests = json::array(), messaging = json::array();
  for (const auto& x : r.tests) {
    tests.push_back({{"test", x.test},
                     {"through", x.engine},
                     {"tokens_per_s", as_json(x.tokens_per_s)},
                     {"read_gb_s", x.read_gb_s},
                     {"multiply_adds_g_s", x.multiply_adds_g_s}});
    if (x.tiers)
      tests.back()["tiers"] = as_json(*x.tiers);
  }
  for (const auto& m : r.messaging)
    messaging.push_back({{"test", m.test}, {"percent", as_json(m.percent)}});
  return {{"tests", tests}, {"messaging", messaging}};
}

} // namespace

std::string as_json(const test_results& r) {
  return tests_json(r).dump(2) + "\n";
}

std::string as_json(const model_report& r) {
  auto all = tests_json(r.results);
  return json{{"model", r.model},
              {"path", r.path},
              {"parameters", r.parameters},
              {"file_bytes", r.file_bytes},
              {"token_bytes", r.cost.bytes},
              {"token_multiply_adds", r.cost.multiply_adds},
              {"device", r.device},
              {"threads", r.threads},
              {"load_s", r.load_s},
              {"resident_bytes", r.resident_bytes},
              {"tests", all["tests"]},
              {"messaging", all["messaging"]}}
             .dump(2) +
         "\n";
}

std::string as_table(const machine_report& r) {
  std::string t;
  line(t, "%-36s %10s %16s", "", "GB/s read", "G mul-add/s");
  line(t, "%-36s %10.1f %16.0f",
       ("machine, " + std::to_string(r.machine.threads) + " threads (" + r.machine.dot_instruction +
        ")")
           .c_str(),
       r.machine.read_gb_s, r.machine.multiply_adds_g_s);
  line(t, "%-36s %10.1f %16.0f", ("kernels of " + r.device).c_str(), r.kernels.read_gb_s,
       r.kernels.multiply_adds_g_s);
  for (const auto& b : r.kernels.batches)
    line(t, "%-36s %10.1f %16.0f",
         (b.rows == 1 ? "  1 row, q4_0 from memory"
                      : "  " + std::to_string(b.rows) + " rows, q4_0 from memory")
             .c_str(),
         b.read_gb_s, b.multiply_adds_g_s);
  return t;
}

std::string as_json(const machine_report& r) {
  auto batches = json::array();
  for (const auto& b : r.kernels.batches)
    batches.push_back(
        {{"rows", b.rows}, {"read_gb_s", b.read_gb_s}, {"multiply_adds_g_s", b.multiply_adds_g_s}});
  return json{{"threads", r.machine.threads},
              {"dot_instruction", r.machine.dot_instruction},
              {"read_gb_s", r.machine.read_gb_s},
              {"multiply_adds_g_s", r.machine.multiply_adds_g_s},
              {"device", r.device},
              {"kernels",
               {{"read_gb_s", r.kernels.read_gb_s},
                {"multiply_adds_g_s", r.kernels.multiply_adds_g_s},
                {"batches", batches}}}}
             .dump(2) +
         "\n";
}

} // namespace coel::bench
