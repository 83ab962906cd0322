#include "apps/node/keygen.hpp"

#include "net/cluster_file.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>

namespace coel::app {

int run_keygen(int argc, char** argv) {
  std::string file = "cluster.toml", name = "home";
  CLI::App app{"coel-node keygen: makes a cluster file. Copy it to every machine of the cluster, "
               "readable by its owner only;\n"
               "whoever has a copy is a member."};
  app.add_option("file", file, "the file to write")->capture_default_str();
  app.add_option("--name", name, "name of the cluster")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  auto cluster = net::make_cluster(name);
  auto written = cluster ? net::write_cluster_file(file, *cluster) : result<void>(cluster.err());
  if (!written) {
    std::fprintf(stderr, "coel-node: %s\n", written.err().message.c_str());
    return 1;
  }
  std::printf("Wrote %s. Copy it to every machine (mode 0600), then start on each:\n  coel-node "
              "--cluster %s [--model FILE]\n",
              file.c_str(), file.c_str());
  return 0;
}

} // namespace coel::app
