#include "apps/inspect/render.hpp"

#include "apps/inspect/fields.hpp"

namespace coel::inspect {

using nlohmann::json;

namespace {

constexpr int yellow = 178;
constexpr size_t bar_cells = 10;

std::string ms_text(double us) {
  return fixed(us / 1000, 1);
}

std::string line(const std::string& text, const look& how) {
  return clipped(text, how.width) + "\n";
}

double share(uint64_t part, uint64_t all) {
  return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
}

std::string model_line(const json& m, const look& how) {
  const auto& kv = m.at("kv");
  if (m.value("role", "") == "helper")
    return wrapped({words(m, "name") + " (" + words(m, "family") + "):",
                    counted(whole(m, "layers"), "layer"), "of " + count(m, "experts") + " experts,",
                    count(m, "top_k") + " used;", "weights " + size(m, "bytes") + ";",
                    "helper, runs experts for others only:", words(m, "why")},
                   " ", 2, how.width);
  return wrapped({words(m, "name") + " (" + words(m, "family") + "):",
                  counted(whole(m, "layers"), "layer"), "of " + count(m, "experts") + " experts,",
                  count(m, "top_k") + " used;", "weights " + size(m, "bytes") + ";",
                  "KV pages " + count(kv, "pages_used") + " of " + count(kv, "pages") + ";",
                  count(m, "sessions") + " running,", count(m, "queued") + " queued"},
                 " ", 2, how.width);
}

std::string cluster_lines(const json& c, const look& how) {
  auto out = wrapped({"cluster: " + words(c, "name"),
                      "is one of " + counted(whole(c, "nodes"), "node") + ",",
                      count(c, "up") + " up;", "'nodes', 'links' and 'placement' tell more"},
                     " ", 2, how.width);
  for (const auto& n : c.at("network"))
    out += render_network(n, how);
  return out;
}

} // namespace

std::string render_status(const json& d, const look& how) {
  const auto& n = d.at("node");
  const auto& t = d.at("totals");
  std::vector<std::string> about{"node " + words(n, "version") + ",", words(n, "device") + ",",
                                 counted(whole(n, "threads"), "thread") + ",",
                                 "up " + duration_text(real(n, "uptime_s"))};
  if (n.at("draining").get<bool>())
    about.push_back(painted("draining: takes no new work", yellow, how));
  auto out = wrapped(about, " ", 2, how.width);
  for (const auto& m : d.at("models"))
    out += model_line(m, how);
  if (d.contains("cluster"))
    out += cluster_lines(d.at("cluster"), how);
  return out + wrapped({counted(whole(t, "requests"), "request") + ",",
                        counted(whole(t, "tokens_in"), "token") + " in,",
                        counted(whole(t, "tokens_out"), "token") + " out,",
                        counted(whole(t, "errors"), "error")},
                       " ", 2, how.width);
}

std::string render_actors(const json& d, const look& how) {
  table actors({{"ACTOR", align::left},
                {"MODEL", align::left},
                {"COUNT"},
                {"MAILBOX"},
                {"MESSAGES"},
                {"BUSY ms"},
                {"us EACH"}});
  for (const auto& a : d.at("actors")) {
    auto messages = whole(a, "messages");
    auto busy = real(a, "busy_us");
    actors.add({words(a, "name"), words(a, "model"), count(a, "count"), count(a, "mailbox"),
                number_text(messages), ms_text(busy),
                messages ? fixed(busy / static_cast<double>(messages), 1) : "-"});
  }
  table devices({{"DEVICE", align::left},
                 {"THREADS"},
                 {"QUEUED"},
                 {"LISTS"},
                 {"BUSY ms"},
                 {"us EACH"},
                 {"HOLDS"}});
  for (const auto& v : d.at("devices")) {
    auto lists = whole(v, "lists");
    auto busy = real(v, "busy_us");
    devices.add({words(v, "name"), count(v, "threads"), count(v, "queued"), number_text(lists),
                 ms_text(busy), lists ? fixed(busy / static_cast<double>(lists), 1) : "-",
                 size(v, "resident_bytes")});
  }
  return actors.text(how) + "\n" + devices.text(how);
}

std::string render_sessions(const json& d, const look& how) {
  table sessions({{"REQUEST"},
                  {"MODEL", align::left},
                  {"STATE", align::left},
                  {"PROMPT"},
                  {"ANSWER"},
                  {"TOKENS/s"},
                  {"PAGES"},
                  {"AGE s"}});
  double together = 0;
  uint64_t running = 0, queued = 0;
  for (const auto& s : d.at("sessions")) {
    auto state = words(s, "state");
    ++(state == "queued" ? queued : running);
    together += real(s, "tokens_per_s");
    sessions.add({count(s, "request"), words(s, "model"), state, count(s, "prompt_tokens"),
                  count(s, "answer_tokens"), fixed(real(s, "tokens_per_s"), 1),
                  count(s, "kv_pages"), fixed(real(s, "age_ms") / 1000, 1)});
  }
  if (running + queued == 0)
    return line("no request runs or waits", how);
  return sessions.text(how) +
         wrapped({number_text(running) + " running,", number_text(queued) + " queued,",
                  fixed(together, 1) + " tokens/s together"},
                 " ", 2, how.width);
}

std::string render_memory(const json& d, const look& how) {
  table tiers({{"TIER", align::left},
               {"USED"},
               {"BUDGET"},
               {"", align::left},
               {"WEIGHTS"},
               {"KV"},
               {"BUFFERS"}});
  for (const auto& t : d.at("tiers")) {
    auto budget = whole(t, "budget_bytes");
    tiers.add({words(t, "name"), size(t, "used_bytes"), budget ? bytes_text(budget) : "no limit",
               budget ? bar(share(whole(t, "used_bytes"), budget), bar_cells, how) : "",
               size(t, "weights_bytes"), size(t, "kv_bytes"), size(t, "buffer_bytes")});
  }
  table models({{"MODEL", align::left}, {"WEIGHTS"}, {"KV"}, {"KV IN USE"}, {"", align::left}});
  for (const auto& m : d.at("models"))
    models.add({words(m, "name"), size(m, "weights_bytes"), size(m, "kv_bytes"),
                size(m, "kv_used_bytes"),
                bar(share(whole(m, "kv_used_bytes"), whole(m, "kv_bytes")), bar_cells, how)});
  return tiers.text(how) + "\n" + models.text(how);
}

} // namespace coel::inspect
