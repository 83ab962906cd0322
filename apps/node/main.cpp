// coel-node: loads, serves, and drains on SIGTERM.
#include "apps/node/options.hpp"

#include <csignal>
#include <cstdio>
#include <pthread.h>
#include <unistd.h>

namespace {

using namespace coel;

/// SIGINT and SIGTERM are waited for, never handled: block them before any thread starts.
sigset_t block_stop_signals() {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGINT);
  sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return stop;
}

void show_progress(const std::string& model, uint64_t done, uint64_t total) {
  static int last = -1;
  int percent = total ? static_cast<int>(done * 100 / total) : 100;
  if (percent == last || !isatty(STDERR_FILENO))
    return;
  last = percent;
  std::fprintf(stderr, "\rloading %s %d %%%s", model.c_str(), percent, percent >= 100 ? "\n" : "");
}

/// A second signal ends the wait at once.
void stop_on_second_signal(sigset_t stop) {
  std::thread([stop] {
    int which = 0;
    sigwait(&stop, &which);
    std::fprintf(stderr, "coel-node: second signal, stopping at once\n");
    std::_Exit(130);
  }).detach();
}

int serve(const app::node_options& o, sigset_t stop) {
  auto device = cpu::make_device(o.device);
  if (!device) {
    std::fprintf(stderr, "coel-node: %s\n", device.err().message.c_str());
    return 2;
  }
  caf::actor_system_config config;
  actors::configure(config);
  caf::actor_system system{config};
  auto node = actors::node::start(system, *device, o.node, o.quiet ? actors::load_progress{} : show_progress);
  if (!node) {
    std::fprintf(stderr, "coel-node: %s\n", node.err().message.c_str());
    return 1;
  }
  for (const auto& endpoint : (*node)->endpoints())
    std::fprintf(stderr, "event=ready endpoint=%s device=%s\n", endpoint.c_str(), (*device)->status().name.c_str());
  int which = 0;
  sigwait(&stop, &which);
  std::fprintf(stderr, "event=draining signal=%d\n", which);
  stop_on_second_signal(stop);
  bool drained = (*node)->drain(std::chrono::milliseconds(o.drain_ms));
  node->reset();
  std::fprintf(stderr, "event=stopped drained=%s\n", drained ? "yes" : "no");
  return drained ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
  auto stop = block_stop_signals();
  auto options = app::read_options(argc, argv);
  if (auto* code = std::get_if<int>(&options))
    return *code;
  return serve(std::get<app::node_options>(options), stop);
}
