#include "net/app_ring.hpp"

#include <algorithm>

namespace coel::net {

app_ring::app_ring(std::vector<std::string> endpoints, uint32_t tries)
    : endpoints_(std::move(endpoints)), tries_(tries), failures_(endpoints_.size()) {}

bool app_ring::failed(error why) {
  log_.push_back({at_, std::move(why)});
  ++failures_[at_];
  for (size_t step = 1; step <= endpoints_.size(); ++step) {
    auto next = (at_ + step) % endpoints_.size();
    if (failures_[next] >= tries_)
      continue;
    at_ = next;
    return true;
  }
  return false;
}

void app_ring::gained() {
  std::fill(failures_.begin(), failures_.end(), 0);
  log_.clear();
}

void app_ring::begin_at(size_t index) {
  gained();
  at_ = index;
}

// A node that failed twice for the same reason is told of once.
std::vector<app_ring::failure> app_ring::distinct() const {
  std::vector<failure> out;
  for (const auto& one : log_)
    if (std::none_of(out.begin(), out.end(), [&](const failure& other) {
          return other.node == one.node && other.why.message == one.why.message;
        }))
      out.push_back(one);
  return out;
}

error app_ring::summary() const {
  auto failures = distinct();
  if (failures.empty())
    return {ec::bad_argument, "no endpoint is given"};
  if (failures.size() == 1)
    return failures.front().why;
  error out{failures.front().why.code, "no node is left to ask"};
  const char* separator = ": ";
  for (const auto& [node, why] : failures) {
    if (why.code != out.code)
      out.code = ec::io;
    out.message += separator + endpoints_[node] + " (" + to_string(why) + ")";
    separator = "; ";
  }
  return out;
}

} // namespace coel::net
