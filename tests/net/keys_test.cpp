// Key files, endpoints, and who may connect.
#include "net/app_client.hpp"
#include "net/endpoints.hpp"
#include "tests/net/fake_node.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <fstream>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

using namespace coel;
using namespace coel::net;
using namespace coel::net::test;

namespace {

mode_t mode_of(const std::filesystem::path& file) {
  struct stat info {};
  ::stat(file.c_str(), &info);
  return info.st_mode & 07777;
}

app_server_options encrypted(const key_pair& keys) {
  app_server_options options;
  options.endpoints = {"tcp://127.0.0.1:*"};
  options.keys = keys;
  return options;
}

bool admitted(const std::string& endpoint, std::optional<std::string> server_key,
              std::optional<key_pair> keys) {
  auto client = app_client::connect({endpoint, server_key, keys, 5s});
  if (!client.ok()) {
    BOOST_TEST((client.err().code == ec::bad_argument), to_string(client.err()));
    return false;
  }
  return client->ask(inspect_request{}, 20s).ok();
}

std::string start_refusal(const app_server_options& options) {
  auto started = app_server::start(options, {});
  BOOST_REQUIRE(!started.ok());
  return to_string(started.err());
}

} // namespace

BOOST_AUTO_TEST_SUITE(keys)

BOOST_AUTO_TEST_CASE(files) {
  scratch_folder folder;
  auto file = folder.path() / "node.key";
  auto made = generate_keys();
  BOOST_REQUIRE(made.ok());
  BOOST_REQUIRE(write_keys(file, *made).ok());
  BOOST_TEST(mode_of(file) == 0600u);
  auto read = read_keys(file);
  BOOST_REQUIRE(read.ok());
  BOOST_TEST(read->public_key == made->public_key);
  BOOST_TEST(read->secret_key == made->secret_key);
  BOOST_TEST(*read_public_key(folder.path() / "node.key.pub") == made->public_key);
  BOOST_TEST(*read_public_key(file) == made->public_key);
  BOOST_TEST(!write_keys(file, *made).ok()); // never overwritten
  BOOST_TEST(!read_keys(folder.path() / "node.key.pub").ok());
  ::chmod(file.c_str(), 0640);
  BOOST_TEST(read_keys(file).err().message.find("chmod 600") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(files_that_are_not_keys) {
  scratch_folder folder;
  auto file = folder.path() / "bad.key";
  auto with = [&](const std::string& content) {
    std::ofstream(file) << content;
    ::chmod(file.c_str(), 0600);
    auto read = read_keys(file);
    BOOST_REQUIRE(!read.ok());
    BOOST_TEST((read.err().code == ec::bad_file), content);
    BOOST_TEST(read.err().message.find("bad.key") != std::string::npos);
  };
  auto a = *generate_keys(), b = *generate_keys();
  with("");
  with(std::string(100000, 'x'));
  with("public-key\nsecret-key\n");
  with("public-key = \"short\"\nsecret-key = \"short\"\n");
  with("public-key = \"" + std::string(40, '\xFF') + "\"\nsecret-key = \"" + a.secret_key + "\"\n");
  with("public-key = \"" + a.public_key + "\"\nsecret-key = \"" + b.secret_key + "\"\n");
  BOOST_TEST((read_keys(folder.path() / "missing").err().code == ec::io));
}

BOOST_AUTO_TEST_CASE(only_listed_clients_are_admitted) {
  auto server = *generate_keys(), friendly = *generate_keys(), stranger = *generate_keys();
  auto options = encrypted(server);
  options.allowed_clients = {friendly.public_key};
  fake_node node(options);
  BOOST_TEST(admitted(node.endpoint(), server.public_key, friendly));
  BOOST_TEST(!admitted(node.endpoint(), server.public_key, stranger));
  BOOST_TEST(!admitted(node.endpoint(), stranger.public_key, friendly)); // a wrong server key
  BOOST_TEST(!admitted(node.endpoint(), std::nullopt, std::nullopt));    // in the clear
  BOOST_TEST(admitted(node.endpoint(), server.public_key, friendly));
}

BOOST_AUTO_TEST_CASE(whoever_knows_the_key_if_so_configured) {
  auto server = *generate_keys();
  auto options = encrypted(server);
  options.allow_any_client = true;
  fake_node node(options);
  BOOST_TEST(admitted(node.endpoint(), server.public_key, std::nullopt));
  BOOST_TEST(!admitted(node.endpoint(), generate_keys()->public_key, std::nullopt));
}

BOOST_AUTO_TEST_CASE(ipc_stays_in_the_clear_beside_an_encrypted_endpoint) {
  scratch_folder folder;
  auto server = *generate_keys();
  auto options = encrypted(server);
  options.allow_any_client = true;
  options.endpoints.push_back(folder.ipc());
  fake_node node(options);
  for (const auto& endpoint : node.server().endpoints())
    BOOST_TEST(admitted(
        endpoint, endpoint.starts_with("tcp") ? std::optional(server.public_key) : std::nullopt,
        {}));
}

BOOST_AUTO_TEST_CASE(what_the_server_refuses_to_listen_on) {
  app_server_options options;
  for (const char* endpoint : {"tcp://0.0.0.0:5460", "tcp://*:5460", "tcp://[::]:5460"}) {
    options.endpoints = {endpoint};
    BOOST_TEST(start_refusal(options).find("keys") != std::string::npos);
  }
  for (const char* endpoint :
       {"nonsense", "inproc://x", "tcp://127.0.0.1", "ipc://relative", "tcp://:1"}) {
    options.endpoints = {endpoint};
    BOOST_TEST(start_refusal(options).find(endpoint) != std::string::npos);
  }
  options.endpoints = {"ipc:///tmp/" + std::string(120, 'x')};
  BOOST_TEST(start_refusal(options).find("at most 107 bytes") != std::string::npos);
  options = encrypted(*generate_keys());
  BOOST_TEST(start_refusal(options).find("no client is allowed") != std::string::npos);
  options.allowed_clients = {"not a key"};
  BOOST_TEST(start_refusal(options).find("not a key") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_server_without_descriptors_says_so) {
  app_server_options options;
  options.endpoints = {"tcp://127.0.0.1:*"};
  rlimit before{};
  BOOST_REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit none{0, before.rlim_max};
  BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  auto started = app_server::start(options, {});
  BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  BOOST_REQUIRE(!started.ok());
  BOOST_TEST((started.err().code == ec::io), to_string(started.err()));
}

BOOST_AUTO_TEST_CASE(an_endpoint_in_use_is_not_taken_over) {
  scratch_folder folder;
  app_server_options options;
  options.endpoints = {folder.ipc()};
  fake_node node(options);
  BOOST_TEST(start_refusal(options).find("another node listens") != std::string::npos);
  BOOST_TEST(admitted(node.endpoint(), {}, {}));
  options.endpoints = {"tcp://127.0.0.1:*"};
  fake_node other(options);
  options.endpoints = {other.endpoint()};
  BOOST_TEST(start_refusal(options).find(other.endpoint()) != std::string::npos);
}

BOOST_AUTO_TEST_CASE(socket_files) {
  scratch_folder folder;
  auto path = folder.path() / "coel" / "node.sock";
  app_server_options options;
  options.endpoints = {"ipc://" + path.string()};
  {
    fake_node node(options);
    BOOST_TEST(mode_of(path) == 0600u);
    BOOST_TEST(mode_of(path.parent_path()) == 0700u);
  }
  BOOST_TEST(!std::filesystem::exists(path)); // a node that ends tidies up
  // A node that was killed leaves its socket behind: bound, and nobody listens.
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s", path.c_str());
  BOOST_REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  ::close(fd);
  BOOST_REQUIRE(std::filesystem::exists(path));
  BOOST_TEST(!somebody_listens(path));
  {
    fake_node node(options);
    BOOST_TEST(admitted(node.endpoint(), {}, {}));
  }
  std::ofstream(path) << "somebody's notes";
  BOOST_TEST(start_refusal(options).find("not a socket") != std::string::npos);
  BOOST_TEST(std::filesystem::file_size(path) == 16u);
  std::filesystem::remove(path);
  ::chmod(path.parent_path().c_str(), 0777);
  BOOST_TEST(start_refusal(options).find("another user") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(default_endpoint_follows_the_runtime_folder) {
  std::string before =
      std::getenv("XDG_RUNTIME_DIR") != nullptr ? std::getenv("XDG_RUNTIME_DIR") : "";
  ::setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
  BOOST_TEST(default_endpoint() == "ipc:///run/user/7/coel/node.sock");
  ::setenv("XDG_RUNTIME_DIR", "", 1);
  BOOST_TEST(default_endpoint() == "ipc:///tmp/coel-" + std::to_string(::geteuid()) + "/node.sock");
  ::setenv("XDG_RUNTIME_DIR", before.c_str(), 1);
}

BOOST_AUTO_TEST_SUITE_END()
