#include "net/cluster_file.hpp"

#include <toml++/toml.h>
#include <zmq.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

namespace coel::net {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view known_keys[] = {"name",     "public-key", "secret-key", "members",
                                           "expelled", "peers",      "link-port",  "hello-port"};
constexpr size_t max_name_chars = 63;
constexpr size_t largest_file_bytes = 1u << 20;
constexpr size_t max_list = 4096;

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= max_name_chars &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; }) &&
         std::stoi(std::string(text)) >= 1 && std::stoi(std::string(text)) <= 65535;
}

// "host", "host:port", "[v6]" or "[v6]:port".
bool is_peer(std::string_view text) {
  auto colon = text.rfind(':');
  bool bracketed = text.starts_with('[');
  bool has_port = colon != std::string_view::npos && !(bracketed && text.ends_with(']'));
  auto host = has_port ? text.substr(0, colon) : text;
  if (bracketed)
    host = host.size() > 2 && host.ends_with(']') ? host.substr(1, host.size() - 2)
                                                  : std::string_view();
  bool plain = std::all_of(host.begin(), host.end(), [&](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_' ||
           (bracketed && (c == ':' || c == '%'));
  });
  return !host.empty() && plain && (!has_port || is_port(text.substr(colon + 1)));
}

bool belong_together(const key_pair& keys) {
  std::array<char, key_chars + 1> derived{};
  return ::zmq_curve_public(derived.data(), keys.secret_key.c_str()) == 0 &&
         keys.public_key == derived.data();
}

// Reads the table; keeps the first problem, with its line.
class cluster_reader {
 public:
  cluster_reader(const toml::table& table, const fs::path& file) : table_(&table), file_(&file) {}

  result<cluster_file> read() {
    refuse_unknown();
    cluster_file out;
    out.name = text("name");
    check("name", is_name(out.name), "must have 1 to 63 letters, digits, '-', '_' or '.'");
    out.keys = {key("public-key"), key("secret-key")};
    check("secret-key", problem_ || belong_together(out.keys),
          "does not belong to public-key; copy the cluster file again from another machine");
    out.members = keys("members");
    out.expelled = keys("expelled");
    out.peers = texts("peers");
    for (const auto& peer : out.peers)
      check("peers", is_peer(peer), "must be \"host\" or \"host:port\", not \"" + peer + "\"");
    port("link-port", out.link_port);
    port("hello-port", out.hello_port);
    if (problem_)
      return *problem_;
    return out;
  }

 private:
  void fail(const toml::node* at, std::string_view name, const std::string& why) {
    if (problem_)
      return;
    std::string where = file_->string();
    if (at != nullptr)
      where.append(":").append(std::to_string(at->source().begin.line));
    problem_ = error{ec::bad_file, where + ": " + std::string(name) + " " + why};
  }
  void check(std::string_view name, bool condition, const std::string& why) {
    if (!condition)
      fail(table_->get(name), name, why);
  }

  void refuse_unknown() {
    for (const auto& [name, value] : *table_)
      if (std::find(std::begin(known_keys), std::end(known_keys), name.str()) ==
          std::end(known_keys))
        fail(&value, name.str(),
             "is not an option of a cluster file; remove it or correct its name");
  }

  std::string text(std::string_view name) {
    const auto* node = table_->get(name);
    if (node == nullptr)
      fail(nullptr, name, "is missing");
    else if (!node->is_string())
      fail(node, name, "must be a text in quotes");
    return node != nullptr ? node->value_or(std::string()) : std::string();
  }

  std::string key(std::string_view name) {
    auto value = text(name);
    check_as_key(name, value, table_->get(name));
    return value;
  }
  void check_as_key(std::string_view name, const std::string& value, const toml::node* at) {
    if (auto checked = check_key(value, name); !checked.ok())
      fail(at, name, "must hold keys of 40 characters of Z85, as 'coel-node keygen' prints them");
  }

  std::vector<std::string> texts(std::string_view name) {
    std::vector<std::string> out;
    const auto* node = table_->get(name);
    if (node == nullptr)
      return out;
    const auto* items = node->as_array();
    if (items == nullptr || items->size() > max_list) {
      fail(node, name, "must be a list of texts, at most 4096");
      return out;
    }
    for (const auto& item : *items) {
      if (!item.is_string())
        fail(&item, name, "must be a list of texts in quotes");
      out.push_back(item.value_or(std::string()));
    }
    return out;
  }
  std::vector<std::string> keys(std::string_view name) {
    auto out = texts(name);
    for (size_t i = 0; i < out.size(); ++i)
      check_as_key(name, out[i], table_->get(name)->as_array()->get(i));
    return out;
  }

  void port(std::string_view name, uint16_t& out) {
    const auto* node = table_->get(name);
    if (node == nullptr)
      return;
    auto value = node->is_integer() ? node->value_or(int64_t{0}) : 0;
    if (value < 1 || value > 65535)
      fail(node, name, "must be a port, 1 to 65535");
    else
      out = static_cast<uint16_t>(value);
  }

  const toml::table* table_;
  const fs::path* file_;
  std::optional<error> problem_;
};

result<std::string> read_secret_file(const fs::path& file) {
  int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return {ec::io, file.string() + ": " + std::strerror(errno)};
  struct stat info {};
  bool known = ::fstat(fd, &info) == 0;
  std::string content(largest_file_bytes + 1, '\0');
  auto got = ::read(fd, content.data(), content.size());
  ::close(fd);
  if (!known || got < 0)
    return {ec::io, file.string() + ": cannot be read"};
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return {ec::bad_file,
            file.string() + ": holds a secret that others may read; run chmod 600 on it"};
  if (static_cast<size_t>(got) > largest_file_bytes)
    return {ec::bad_file, file.string() + ": too long for a cluster file"};
  content.resize(static_cast<size_t>(got));
  return content;
}

std::string list(std::string_view name, const std::vector<std::string>& items) {
  std::string out = std::string(name) + " = [";
  for (size_t i = 0; i < items.size(); ++i)
    out.append(i > 0 ? ", " : "").append("\"").append(items[i]).append("\"");
  return out.append("]\n");
}

std::string as_toml(const cluster_file& cluster) {
  std::ostringstream out; // neither names, keys nor peers have a character to escape
  out << "# A CoEL cluster. Whoever has this file is a member of it: copy it to each machine by a\n"
         "# safe way, mode 0600, and show it to nobody.\n"
      << "name = \"" << cluster.name << "\"\n"
      << "public-key = \"" << cluster.keys.public_key << "\"\n"
      << "secret-key = \"" << cluster.keys.secret_key << "\"\n"
      << "# Public keys of nodes. With members listed, nobody else is let in.\n"
      << list("members", cluster.members) << list("expelled", cluster.expelled)
      << "# Machines that a broadcast does not reach: \"host\" or \"host:link-port\".\n"
      << list("peers", cluster.peers) << "link-port = " << cluster.link_port << "\n"
      << "hello-port = " << cluster.hello_port << "\n";
  return out.str();
}

result<cluster_file> parse(const std::string& content, const fs::path& file) try {
  auto table = toml::parse(content);
  return cluster_reader(table, file).read();
} catch (const toml::parse_error& e) {
  return {ec::bad_file, file.string() + ":" + std::to_string(e.source().begin.line) +
                            ": is not TOML: " + std::string(e.description())};
}

} // namespace

result<cluster_file> make_cluster(std::string name) {
  if (!is_name(name))
    return {ec::bad_argument,
            "cluster name '" + name + "': must have 1 to 63 letters, digits, '-', '_' or '.'"};
  auto keys = generate_keys();
  if (!keys.ok())
    return keys.err();
  cluster_file made;
  made.name = std::move(name);
  made.keys = *keys;
  return made;
}

result<void> write_cluster_file(const fs::path& file, const cluster_file& cluster) {
  auto content = as_toml(cluster);
  if (auto readable = parse(content, file); !readable.ok())
    return readable.err(); // a file that nobody could read again is not written
  int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (fd < 0)
    return {ec::io, file.string() + ": " + std::strerror(errno)};
  bool good = ::write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size());
  good = ::fsync(fd) == 0 && good;
  good = ::close(fd) == 0 && good;
  if (good)
    return {};
  ::unlink(file.c_str());
  return {ec::io, file.string() + ": could not be written; is the disk full?"};
}

result<cluster_file> read_cluster_file(const fs::path& file) {
  auto content = read_secret_file(file);
  if (!content.ok())
    return content.err();
  return parse(*content, file);
}

result<key_pair> node_keys(const fs::path& state_folder) {
  auto file = state_folder / "node.key";
  std::error_code failure;
  if (fs::exists(file, failure))
    return read_keys(file);
  fs::create_directories(state_folder.parent_path(), failure);
  if (::mkdir(state_folder.c_str(), S_IRWXU) != 0 && errno != EEXIST)
    return {ec::io, state_folder.string() + ": cannot be created: " + std::strerror(errno)};
  auto made = generate_keys();
  if (!made.ok())
    return made.err();
  auto written = write_keys(file, *made);
  if (written.ok())
    return *made;
  auto others = read_keys(file); // another process was quicker
  return others.ok() ? others : result<key_pair>(written.err());
}

} // namespace coel::net
