// The file that makes machines a cluster, and a node's own keys.
#include "net/cluster_file.hpp"
#include "tests/net/fake_node.hpp"

#include <boost/test/unit_test.hpp>

#include <fstream>
#include <sstream>
#include <sys/stat.h>

using namespace coel;
using namespace coel::net;
using coel::net::test::scratch_folder;

namespace {

mode_t mode_of(const std::filesystem::path& file) {
  struct stat info {};
  ::stat(file.c_str(), &info);
  return info.st_mode & 07777;
}

std::string content_of(const std::filesystem::path& file) {
  std::ostringstream out;
  out << std::ifstream(file).rdbuf();
  return out.str();
}

struct written_cluster {
  scratch_folder folder;
  std::filesystem::path file = folder.path() / "home.cluster";
  cluster_file made = *make_cluster("home");
  std::string original;

  written_cluster() {
    BOOST_REQUIRE(write_cluster_file(file, made).ok());
    original = content_of(file);
  }

  void put(const std::string& content) {
    std::ofstream(file) << content;
    ::chmod(file.c_str(), 0600);
  }

  /// The refusal of the file with `line` in place of the one that starts alike.
  std::string refusal_with(const std::string& line) {
    auto content = original;
    auto name = line.substr(0, line.find(' ') + 1);
    auto from = content.find("\n" + name);
    if (from == std::string::npos)
      content += line + "\n";
    else
      content.replace(from + 1, content.find('\n', from + 1) - from - 1, line);
    put(content);
    auto read = read_cluster_file(file);
    BOOST_REQUIRE_MESSAGE(!read.ok(), line);
    BOOST_TEST((read.err().code == ec::bad_file), line);
    BOOST_TEST(read.err().message.starts_with(file.string()));
    return read.err().message;
  }
};

bool says(const std::string& message, const std::string& part) {
  BOOST_TEST(message.find(part) != std::string::npos, message << " lacks " << part);
  return true;
}

} // namespace

BOOST_AUTO_TEST_SUITE(cluster_files)

BOOST_FIXTURE_TEST_CASE(round_trip, written_cluster) {
  BOOST_TEST(mode_of(file) == 0600u);
  auto full = *make_cluster("lab-2");
  full.members = {generate_keys()->public_key, generate_keys()->public_key};
  full.expelled = {generate_keys()->public_key};
  full.peers = {"10.0.0.7", "nas.local:7500", "[fe80::1%eth0]:7420", "[::1]"};
  full.link_port = 1;
  full.hello_port = 65535;
  auto other = folder.path() / "lab.cluster";
  BOOST_REQUIRE(write_cluster_file(other, full).ok());
  auto read = read_cluster_file(other);
  BOOST_REQUIRE_MESSAGE(read.ok(), (read.ok() ? "" : to_string(read.err())));
  BOOST_TEST(read->name == "lab-2");
  BOOST_TEST(read->keys.public_key == full.keys.public_key);
  BOOST_TEST(read->keys.secret_key == full.keys.secret_key);
  BOOST_TEST(read->members == full.members);
  BOOST_TEST(read->expelled == full.expelled);
  BOOST_TEST(read->peers == full.peers);
  BOOST_TEST(read->link_port == 1u);
  BOOST_TEST(read->hello_port == 65535u);
}

BOOST_FIXTURE_TEST_CASE(never_overwritten, written_cluster) {
  auto again = write_cluster_file(file, *make_cluster("other"));
  BOOST_REQUIRE(!again.ok());
  BOOST_TEST((again.err().code == ec::io));
  BOOST_TEST(content_of(file) == original);
}

BOOST_FIXTURE_TEST_CASE(what_could_not_be_read_is_not_written, written_cluster) {
  auto other = folder.path() / "bad.cluster";
  auto bad = made;
  bad.peers = {"a\"b"};
  BOOST_TEST(!write_cluster_file(other, bad).ok());
  BOOST_TEST(!std::filesystem::exists(other));
  for (const char* name : {"", "with space", "quote\"", "new\nline"})
    BOOST_TEST((make_cluster(name).err().code == ec::bad_argument));
}

BOOST_FIXTURE_TEST_CASE(defaults, written_cluster) {
  put("name = 'x'\npublic-key = '" + made.keys.public_key + "'\nsecret-key = '" +
      made.keys.secret_key + "'\n");
  auto read = read_cluster_file(file);
  BOOST_REQUIRE_MESSAGE(read.ok(), (read.ok() ? "" : to_string(read.err())));
  BOOST_TEST(read->members.empty());
  BOOST_TEST(read->link_port == 7420u);
  BOOST_TEST(read->hello_port == 698u);
}

BOOST_FIXTURE_TEST_CASE(a_file_that_others_may_read, written_cluster) {
  for (mode_t mode : {0640u, 0604u, 0660u}) {
    ::chmod(file.c_str(), mode);
    auto read = read_cluster_file(file);
    BOOST_REQUIRE(!read.ok());
    BOOST_TEST((read.err().code == ec::bad_file));
    says(read.err().message, "chmod 600");
  }
  BOOST_TEST((read_cluster_file(folder.path() / "missing").err().code == ec::io));
}

BOOST_FIXTURE_TEST_CASE(wrong_content, written_cluster) {
  says(refusal_with("link-port = 0"), ": link-port must be a port");
  says(refusal_with("link-port = 65536"), "65535");
  says(refusal_with("hello-port = \"698\""), "hello-port");
  says(refusal_with("name = \"\""), ":3: name");
  says(refusal_with("name = 7"), "in quotes");
  says(refusal_with("members = [\"short\"]"), "40 characters");
  says(refusal_with("members = \"" + made.keys.public_key + "\""), "list");
  says(refusal_with("expelled = [7]"), "expelled");
  says(refusal_with("membres = []"), ": membres is not an option");
  says(refusal_with("secret-key = \"" + generate_keys()->secret_key + "\""), "does not belong");
  says(refusal_with("public-key = \"\""), ":4: public-key");
  says(refusal_with("name = "), ":3: is not TOML");
  for (const char* peer : {"", ":7420", "host:", "host:0", "host:65536", "host:x", "a b", "tcp://x",
                           "[::1", "[]", "::1:7420"})
    says(refusal_with(std::string("peers = [\"") + peer + "\"]"), "peers");
}

BOOST_FIXTURE_TEST_CASE(cut_or_senseless_files_are_refused, written_cluster) {
  auto end = original.find('\n', original.find("secret-key"));
  for (size_t size = 0; size + 1 < end; ++size) {
    put(original.substr(0, size));
    auto read = read_cluster_file(file);
    BOOST_REQUIRE_MESSAGE(!read.ok(), "cut to " << size);
    BOOST_TEST((read.err().code == ec::bad_file));
  }
  put(std::string((1u << 20) + 1, '#'));
  says(read_cluster_file(file).err().message, "too long");
  put(std::string(1000, '\xFF'));
  BOOST_TEST((read_cluster_file(file).err().code == ec::bad_file));
}

BOOST_AUTO_TEST_CASE(a_node_keeps_its_keys) {
  scratch_folder folder;
  auto state = folder.path() / "a" / "state";
  auto first = node_keys(state);
  BOOST_REQUIRE_MESSAGE(first.ok(), (first.ok() ? "" : to_string(first.err())));
  BOOST_TEST(mode_of(state) == 0700u);
  BOOST_TEST(mode_of(state / "node.key") == 0600u);
  auto second = node_keys(state);
  BOOST_REQUIRE(second.ok());
  BOOST_TEST(second->public_key == first->public_key);
  BOOST_TEST(second->secret_key == first->secret_key);
  std::ofstream(state / "node.key") << "broken";
  BOOST_TEST(
      (node_keys(state).err().code == ec::bad_file)); // an identity is not made anew silently
  std::ofstream(folder.path() / "file") << "";
  BOOST_TEST((node_keys(folder.path() / "file").err().code == ec::io));
}

BOOST_AUTO_TEST_SUITE_END()
