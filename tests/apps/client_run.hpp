// Runs `coel` as a person or a script would.
#pragma once

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/wait.h>

namespace coel::test {

struct outcome {
  int exit = -1;
  std::string out;
  std::string err;
};

/// Runs a program of ours by the shell with HOME in `folder` and nothing else of CoEL configured;
/// `before` may set variables or pipe something in.
inline outcome run_program(const std::string& program, const std::filesystem::path& folder,
                           const std::string& arguments, const std::string& before = "") {
  auto errors = (folder / "stderr").string();
  auto home = folder.string();
  auto command = "export HOME='" + home + "' XDG_CONFIG_HOME= XDG_STATE_HOME= XDG_RUNTIME_DIR='" +
                 home + "'; " + before + " timeout 60 '" COEL_BINARY_DIR "/" + program + "' " +
                 arguments + " 2>'" + errors + "'";
  outcome result;
  auto* pipe = ::popen(command.c_str(), "r");
  std::array<char, 4096> buffer{};
  while (auto read = std::fread(buffer.data(), 1, buffer.size(), pipe))
    result.out.append(buffer.data(), read);
  int status = ::pclose(pipe);
  result.exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  std::ifstream in(errors);
  result.err.assign(std::istreambuf_iterator<char>(in), {});
  return result;
}

inline outcome run_coel(const std::filesystem::path& folder, const std::string& arguments,
                        const std::string& before = "") {
  return run_program("coel", folder, arguments, before);
}

} // namespace coel::test
