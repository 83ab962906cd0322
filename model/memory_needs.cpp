#include "model/memory_needs.hpp"

#include "model/direct_file.hpp"
#include "model/family.hpp"
#include "model/graph.hpp"

#include <algorithm>
#include <fstream>
#include <limits>

namespace coel::model {

namespace {

constexpr uint64_t usual_process = uint64_t{96} << 20;
constexpr uint32_t short_request = 512; ///< tokens

/// As hosting takes it by default: a whole context, and more of them while that is cheap.
uint32_t pages_wanted(const model_config& c, const serving_shape& how, uint64_t page_bytes) {
  if (how.kv_bytes)
    return static_cast<uint32_t>(std::max<uint64_t>(how.kv_bytes / page_bytes, 1));
  constexpr uint64_t cheap = uint64_t{1} << 30;
  uint64_t whole = (c.context + how.page_tokens - 1) / how.page_tokens;
  return static_cast<uint32_t>(
      std::max<uint64_t>(whole, std::min<uint64_t>(cheap / page_bytes, 16 * whole)));
}

/// A number from a file of one number, or of lines "name number".
uint64_t number_in(const std::string& path, const std::string& name = {}) {
  std::ifstream in(path);
  std::string word;
  uint64_t value = 0;
  if (name.empty())
    return in >> value ? value : 0;
  while (in >> word)
    if (word == name)
      return in >> value ? value : 0;
  return 0;
}

/// The last part of the line of /proc/self/cgroup for that controller; version 2 has an empty one.
std::string group_of(const std::string& controller) {
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos)
      continue;
    auto names = "," + line.substr(first + 1, second - first - 1) + ",";
    if (names.find("," + controller + ",") != std::string::npos)
      return line.substr(second + 1);
  }
  return {};
}

/// What a group and those around it still allow beyond what this process has.
uint64_t left_in_group(const std::string& root, std::string group, const char* limit,
                       const char* usage) {
  uint64_t left = std::numeric_limits<uint64_t>::max();
  for (;;) {
    uint64_t most = number_in(root + group + "/" + limit),
             now = number_in(root + group + "/" + usage);
    // A group without a limit says "max" or a number as large as any.
    if (most && most < uint64_t{1} << 60)
      left = std::min(left, most > now ? most - now : 0);
    auto cut = group.rfind('/');
    if (cut == std::string::npos || group.empty())
      return left;
    group.resize(cut);
  }
}

} // namespace

uint64_t resident_bound(const compute::matrix_view& v) {
  constexpr uint64_t row_multiple = 16, page = direct_file::alignment;
  uint64_t rows = (v.rows + row_multiple - 1) / row_multiple * row_multiple;
  uint64_t bytes = rows * row_bytes(v.type, v.cols);
  return (bytes + bytes / 32 + page - 1) / page * page;
}

result<memory_needs> memory_needs_of(const source& from, const serving_shape& how) {
  const auto& c = from.config();
  memory_needs n;
  n.layers = c.layers;
  n.experts = c.experts;
  n.top_k = c.top_k;
  uint64_t one = 0, one_read = 0; // of the expert whose matrices come one after another
  for (const auto& key : required_tensors(c)) {
    auto m = from.matrix(key);
    if (!m)
      return m.err();
    auto bytes = resident_bound(*m);
    if (is_expert_role(key.what)) {
      n.routed_bytes += bytes;
      continue;
    }
    bool shared = key.what == role::shared_gate || key.what == role::shared_up ||
                  key.what == role::shared_down;
    (shared ? n.shared_bytes : n.dense_bytes) += bytes;
  }
  for (uint32_t l = 0; l < c.layers; ++l)
    for (uint32_t e = 0; e < c.experts; ++e) {
      one = one_read = 0;
      for (auto what : {role::expert_gate, role::expert_up, role::expert_down}) {
        auto m = from.matrix({what, static_cast<layer_id>(l), static_cast<expert_id>(e)});
        if (!m)
          return m.err();
        one += resident_bound(*m);
        one_read += m->bytes() + 2 * direct_file::alignment;
      }
      n.expert_bytes = std::max(n.expert_bytes, one);
      n.read_bytes = std::max(n.read_bytes, one_read);
    }
  n.kv_page_bytes = uint64_t{4} * c.layers * c.kv_heads * c.head_dim * how.page_tokens;
  n.kv_pages_wanted = pages_wanted(c, how, n.kv_page_bytes);
  uint32_t brief = (std::min(c.context, short_request) + how.page_tokens - 1) / how.page_tokens;
  n.kv_pages_least = how.kv_bytes ? n.kv_pages_wanted : std::min(brief, n.kv_pages_wanted);
  n.step_bytes = step_buffer_bytes(c, std::min(how.rows, c.context), how.logits);
  n.process_bytes = usual_process;
  return n;
}

uint64_t resident_memory() {
  return number_in("/proc/self/status", "RssAnon:") * 1024;
}

uint64_t memory_within_reach() {
  uint64_t free_bytes = number_in("/proc/meminfo", "MemAvailable:") * 1024;
  if (free_bytes == 0)
    return 0;
  uint64_t group =
      std::min(left_in_group("/sys/fs/cgroup", group_of(""), "memory.max", "memory.current"),
               left_in_group("/sys/fs/cgroup/memory", group_of("memory"), "memory.limit_in_bytes",
                             "memory.usage_in_bytes"));
  return resident_memory() + std::min(free_bytes, group);
}

} // namespace coel::model
