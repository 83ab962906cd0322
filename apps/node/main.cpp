// coel-node: loads, serves, and drains on SIGTERM.
#include "apps/node/keygen.hpp"
#include "apps/node/open_device.hpp"
#include "apps/node/options.hpp"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <future>
#include <pthread.h>
#include <string_view>
#include <thread>
#include <unistd.h>

namespace {

using namespace coel;

/// The card failed, and the node could not go on without it.
constexpr int exit_card_lost = 3;

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

/// Signals, one after another, from a thread of their own: the first may come while models load.
class stop_request {
 public:
  explicit stop_request(sigset_t signals) {
    std::thread([this, signals] {
      for (int n = 0;; ++n) {
        int which = 0;
        sigwait(&signals, &which);
        if (n || !serving_.load()) {
          std::fprintf(stderr, n ? "coel-node: second signal, stopping at once\n"
                                 : "event=stopped before=ready\n");
          std::_Exit(n ? 130 : 0);
        }
        asked_.set_value(which);
      }
    }).detach();
  }
  void serving() { serving_ = true; }
  int wait() { return asked_.get_future().get(); }

 private:
  std::atomic<bool> serving_ = false;
  std::promise<int> asked_;
};

int serve(const app::node_options& o, stop_request& stop) {
  auto device = app::open_device(o);
  if (!device) {
    std::fprintf(stderr, "coel-node: %s\n", device.err().message.c_str());
    return 2;
  }
  caf::actor_system_config config;
  actors::configure(config);
  caf::actor_system system{config};
  auto options = o.node;
  if (!o.quiet)
    options.join.event = [](const std::string& line) {
      std::fprintf(stderr, "%s\n", line.c_str());
    };
  std::atomic<bool> lost = false;
  options.device_lost = [&lost](const std::optional<error>& end) {
    std::fprintf(stderr, "event=card-lost goes-on=%s\n", end ? "no" : "on-the-cpu");
    if (!end)
      return;
    std::fprintf(stderr, "coel-node: %s\n", end->message.c_str());
    lost = true;
    kill(getpid(), SIGTERM);
  };
  auto progress = o.quiet ? actors::load_progress{} : show_progress;
  auto node = actors::node::start(system, *device, options, progress);
  if (!node) {
    std::fprintf(stderr, "coel-node: %s\n", node.err().message.c_str());
    return 1;
  }
  if (const auto* cluster = (*node)->neighbours())
    std::fprintf(stderr, "event=joined node=%s key=%s link=%s\n", cluster->name().c_str(),
                 cluster->key().c_str(), cluster->endpoints().front().c_str());
  if (const auto* cluster = (*node)->neighbours(); cluster && cluster->hello_trouble())
    std::fprintf(stderr, "event=no-hello why=\"%s\"\n", cluster->hello_trouble()->message.c_str());
  (*node)->wait_until_covered(progress);
  stop.serving();
  for (const auto& endpoint : (*node)->endpoints())
    std::fprintf(stderr, "event=ready endpoint=%s device=%s\n", endpoint.c_str(),
                 (*device)->status().name.c_str());
  std::fprintf(stderr, "event=draining signal=%d\n", stop.wait());
  bool drained = (*node)->drain(std::chrono::milliseconds(o.drain_ms));
  node->reset();
  std::fprintf(stderr, "event=stopped drained=%s\n", drained ? "yes" : "no");
  return lost ? exit_card_lost : drained ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "keygen")
    return app::run_keygen(argc - 1, argv + 1);
  auto signals = block_stop_signals();
  auto options = app::read_options(argc, argv);
  if (auto* code = std::get_if<int>(&options))
    return *code;
  static stop_request stop(signals); // its thread never ends
  return serve(std::get<app::node_options>(options), stop);
}
