#include "apps/inspect/command.hpp"
#include "apps/inspect/fields.hpp"
#include "apps/inspect/render.hpp"

namespace coel::inspect {

using nlohmann::json;

namespace {

constexpr int yellow = 178;
constexpr int red = 196;

/// A sentence, wrapped at its blanks.
std::string sentence(const std::string& text, const look& how) {
  return wrapped(words_of(text), " ", 2, how.width);
}

bool flag(const json& in, const char* name) {
  return in.at(name).get<bool>();
}

std::string state_of(const json& n) {
  if (flag(n, "draining"))
    return flag(n, "this") ? "this, draining" : "draining";
  return flag(n, "this") ? "this" : flag(n, "up") ? "up" : "down";
}

std::string link_name(const json& l) {
  auto name = words(l, "name");
  return name.empty() ? "?" : name;
}

/// Configured peers that never answered have no key.
bool is_member(const json& l) {
  return !words(l, "key").empty();
}

// ---- nodes

std::string header(const json& d, const look& how) {
  size_t up = 1, all = 1;
  for (const auto& l : d.at("links")) {
    up += l.at("state") == "up";
    all += is_member(l);
  }
  std::vector<std::string> text{words(d.at("node"), "name") + ",",
                                "one of " + counted(all, "node") + ",", number_text(up) + " up;",
                                "neighbours connect to"};
  for (const auto& e : d.at("node").at("endpoints"))
    text.push_back(printable(e.get<std::string>()));
  return wrapped(text, " ", 2, how.width);
}

std::string coverage(const json& p, const look& how) {
  auto all = whole(p, "layers") * whole(p, "experts_per_layer");
  auto missing = whole(p, "uncovered");
  auto text =
      words(p, "model") + ": " + counted(all, "expert") + ", " +
      (missing ? number_text(missing) + " of them held by nobody" : "each held by somebody");
  if (auto n = whole(p, "loading"))
    text += "; " + number_text(n) + " on their way to this node";
  if (auto n = whole(p, "wanted"))
    text += "; this node should hold " + number_text(n) + " more";
  auto line = sentence(text, how);
  return missing ? painted(line.substr(0, line.size() - 1), red, how) + "\n" : line;
}

std::string serves_apps(const json& n) {
  return flag(n, "home") ? "yes" : n.value("role", "") == "helper" ? "no, helper" : "no";
}

std::string holders(const json& p, const look& how) {
  table rows({{"NODE", align::left},
              {"STATE", align::left},
              {"FILES", align::left},
              {"SERVES APPS", align::left},
              {"ROOM"},
              {"HOLDS"},
              {"IT ALONE"}});
  for (const auto& n : p.at("nodes"))
    rows.add({words(n, "name"), state_of(n), flag(n, "complete") ? "complete" : "a part",
              serves_apps(n), count(n, "room"), count(n, "holds"), count(n, "alone")});
  return rows.text(how);
}

std::string identities(const json& d, const look& how) {
  table rows({{"NODE", align::left}, {"KEY", align::left}});
  rows.add({words(d.at("node"), "name"), words(d.at("node"), "key")});
  for (const auto& l : d.at("links"))
    if (is_member(l))
      rows.add({link_name(l), words(l, "key")});
  return rows.text(how);
}

std::string percent(const json& in, const char* name) {
  return in.contains(name) ? count(in, name) + " %" : "-";
}

std::string hello(const json& h, const look& how) {
  if (auto trouble = words(h, "trouble"); !trouble.empty())
    return sentence("No HELLO is heard: " + trouble, how);
  if (h.at("heard").empty())
    return sentence("No node is heard by HELLO.", how);
  table rows({{"HEARD AT", align::left},
              {"LINK", align::left},
              {"QUALITY"},
              {"SILENT s"},
              {"CPU FREE"},
              {"RAM FREE"},
              {"CONNECTED"}});
  for (const auto& n : h.at("heard"))
    rows.add({words(n, "address"), words(n, "link"), fixed(real(n, "quality"), 2),
              fixed(real(n, "silent_ms") / 1000, 1), percent(n, "compute_free"),
              percent(n, "memory_free"), flag(n, "connected") ? "yes" : "no"});
  return rows.text(how);
}

// ---- links

std::string measured(const json& l, const char* name, uint64_t unit, int digits) {
  auto value = whole(l, name);
  return value ? fixed(static_cast<double>(value) / static_cast<double>(unit), digits) : "-";
}

std::string connections(const json& links, const look& how) {
  table rows({{"NODE", align::left},
              {"STATE", align::left},
              {"ENDPOINT", align::left},
              {"TRIP us"},
              {"VARIES us"},
              {"MB/s"}});
  for (const auto& l : links)
    rows.add({link_name(l), words(l, "state"), words(l, "endpoint"),
              measured(l, "round_trip_us", 1, 0), measured(l, "variation_us", 1, 0),
              measured(l, "goodput_bytes_s", 1'000'000, 1)});
  return rows.text(how);
}

std::string traffic(const json& links, const look& how) {
  table rows({{"NODE", align::left},
              {"ASKED"},
              {"WAITING"},
              {"LATE"},
              {"FAILED"},
              {"BAD"},
              {"LOST"},
              {"SENT"},
              {"RECEIVED"}});
  for (const auto& l : links) {
    const auto& c = l.at("counts");
    rows.add({link_name(l), count(c, "dispatches"), count(l, "waiting"), count(c, "late"),
              count(c, "failed"), count(c, "bad_frames"), count(c, "times_down"),
              size(c, "bytes_out"), size(c, "bytes_in")});
  }
  return rows.text(how);
}

std::string troubles(const json& links, const look& how) {
  std::string out;
  for (const auto& l : links)
    if (auto why = words(l, "why"); !why.empty())
      out += sentence(words(l, "endpoint") + ": " + why, how);
  return out;
}

} // namespace

std::string render_network(const json& n, const look& how) {
  if (whole(n, "tokens") == 0)
    return sentence(words(n, "model") + ": no token yet", how);
  auto out = sentence(
      words(n, "model") + ": a token takes " + fixed(real(n, "us_per_token"), 0) + " us, " +
          fixed(100 * real(n, "network_share"), 0) + " % of it waiting for neighbours, in " +
          fixed(real(n, "rounds_per_token"), 1) + " rounds and " +
          bytes_text(whole(n, "bytes_per_token")) + "; " +
          (n.contains("alone_us_per_token")
               ? fixed(real(n, "alone_us_per_token"), 0) + " us predicted for this machine alone"
               : "for this machine alone nothing is predicted yet"),
      how);
  if (n.contains("advice"))
    out += painted("advice:", yellow, how) + " " +
           sentence(words(n, "advice"), {how.width - std::min<size_t>(how.width, 8)});
  return out;
}

/// Nothing when nobody was turned away.
std::string turned_away(const json& refused, const look& how) {
  std::string out;
  for (const auto& [why, times] : refused.items())
    if (times.get<uint64_t>() > 0)
      out += (out.empty() ? "Not let in: " : ", ") + why + " " + times.dump();
  return out.empty() ? out : sentence(out + ".", how);
}

std::string render_nodes(const json& d, const look& how) {
  auto out = header(d, how);
  for (const auto& p : d.at("placement"))
    out.append("\n").append(coverage(p, how)).append(holders(p, how));
  out.append("\n").append(identities(d, how));
  out.append("\n").append(hello(d.at("hello"), how));
  return out.append(turned_away(d.at("refused"), how));
}

std::string render_links(const json& d, const look& how) {
  const auto& links = d.at("links");
  if (links.empty())
    return sentence("No neighbour is known: are other nodes of the cluster running, and are they "
                    "on this network or named by "
                    "--peer?",
                    how);
  auto out = connections(links, how) + troubles(links, how) + "\n" + traffic(links, how);
  if (!d.at("network").empty())
    out += "\n";
  for (const auto& n : d.at("network"))
    out += render_network(n, how);
  return out;
}

std::string render_action(const json& d, const look& how) {
  auto name = words(d, "node");
  auto done = words(d, "action") == "drain" ? " drains: " : " is expelled: ";
  return sentence((name.empty() ? "" : name + ", ") + words(d, "key") + done + words(d, "then"),
                  how);
}

} // namespace coel::inspect
