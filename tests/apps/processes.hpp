// Programs of ours that run beside the test, and that it may kill.
#pragma once

#include "tests/net/fake_node.hpp"

#include <array>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace coel::test {

/// A running program with pipes to its input and output; killed and waited for at the end.
class process {
 public:
  /// `program`: one of ours by its name, or a path.
  process(const std::filesystem::path& folder, const std::string& program,
          const std::vector<std::string>& arguments)
      : errors_(folder / (std::to_string(count()++) + ".err")) {
    std::array<int, 2> in{}, out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0)
      throw std::runtime_error("no pipes");
    std::vector<std::string> words{std::filesystem::path(COEL_BINARY_DIR) / program};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (auto& word : words)
      argv.push_back(word.data());
    argv.push_back(nullptr);
    auto home = "HOME=" + folder.string(), runtime = "XDG_RUNTIME_DIR=" + folder.string();
    std::array<char*, 3> environment{home.data(), runtime.data(), nullptr};
    pid_ = ::fork();
    if (pid_ == 0) {
      int errors = ::open(errors_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(in[0], 0), ::dup2(out[1], 1), ::dup2(errors, 2);
      ::execve(argv[0], argv.data(), environment.data());
      ::_exit(127);
    }
    ::close(in[0]), ::close(out[1]);
    in_ = in[1], out_ = out[0];
  }
  ~process() {
    end(SIGKILL);
    ::close(out_);
  }
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  void say(const std::string& text) {
    if (::write(in_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      throw std::runtime_error("the program does not read");
  }
  void say_no_more() {
    if (in_ >= 0)
      ::close(in_);
    in_ = -1;
  }
  /// Some of what it prints, as soon as there is any; empty at the end.
  std::string read_some() {
    std::array<char, 4096> buffer{};
    auto got = ::read(out_, buffer.data(), buffer.size());
    return {buffer.data(), static_cast<size_t>(std::max<ssize_t>(got, 0))};
  }
  std::string read_all() {
    std::string all;
    for (auto some = read_some(); !some.empty(); some = read_some())
      all += some;
    return all;
  }

  void signal(int which) { ::kill(pid_, which); }
  /// The exit code of a program that ends by itself, or -1.
  int wait() { return end(0); }
  std::string errors() const {
    std::ifstream in(errors_);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  static int& count() {
    static int started = 0;
    return started;
  }
  int end(int how) {
    say_no_more();
    if (pid_ < 0)
      return -1;
    if (how != 0)
      ::kill(pid_, how);
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::filesystem::path errors_;
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
};

/// coel-node with the shipped model on a socket in the folder, ready to answer.
class node_process {
 public:
  node_process(const std::filesystem::path& folder, const std::string& name,
               const std::vector<std::string>& more = {})
      : endpoint_("ipc://" + (folder / (name + ".sock")).string()),
        process_(folder, "coel-node", arguments(endpoint_, more)) {
    using namespace std::chrono_literals;
    for (int i = 0; i < 6000 && process_.errors().find("event=ready") == std::string::npos; ++i)
      std::this_thread::sleep_for(10ms);
    if (process_.errors().find("event=ready") == std::string::npos)
      throw std::runtime_error("the node does not start: " + process_.errors());
  }
  const std::string& endpoint() const { return endpoint_; }
  void signal(int which) { process_.signal(which); }

 private:
  static std::vector<std::string> arguments(const std::string& endpoint,
                                            const std::vector<std::string>& more) {
    std::vector<std::string> all{
        "--model",    COEL_SOURCE_DIR "/models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf",
        "--endpoint", endpoint,
        "--threads",  "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  std::string endpoint_;
  process process_;
};

} // namespace coel::test
