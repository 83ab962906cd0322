#include "apps/coel/commands.hpp"
#include "apps/coel/connection.hpp"
#include "net/keys.hpp"

#include <iostream>

namespace coel::app {

namespace {

int keygen(const std::string& file) {
  auto keys = net::generate_keys();
  auto written = keys.ok() ? net::write_keys(file, *keys) : result<void>(keys.err());
  if (!written.ok()) {
    print_error(written.err());
    return exit_failed;
  }
  std::cout << file << "      both keys, to be kept secret\n"
            << file << ".pub  the public key, for the other side\n"
            << "public key: " << keys->public_key << '\n';
  return exit_good;
}

} // namespace

void add_keygen(CLI::App& app, int& exit) {
  auto file = std::make_shared<std::string>();
  auto& command = *app.add_subcommand("keygen", "Make a pair of keys for encrypted connections");
  command.add_option("file", *file, "Where to put them: FILE and FILE.pub, which must not exist")
      ->required();
  command.callback([file, &exit] { exit = keygen(*file); });
}

} // namespace coel::app
