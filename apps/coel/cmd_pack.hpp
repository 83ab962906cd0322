// `coel pack`: a model's experts in a file of their own, as the device lays them out.
#pragma once

#include <cstdint>
#include <string>

namespace coel::app {

struct pack_options {
  std::string model;
  std::string out; ///< empty: beside the model
  bool check = false;
  uint32_t threads = 0;
  std::string kernels;
};

/// The exit code of the program.
int cmd_pack(const pack_options& options);

} // namespace coel::app
