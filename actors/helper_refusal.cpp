#include "actors/helper_refusal.hpp"

#include <algorithm>

namespace coel::actors {

namespace {

constexpr size_t most_named = 8;

bool answers_for(const member& m, const hash256& hash) {
  if (!m.up || !m.record || m.record->draining)
    return false;
  const auto& models = m.record->models;
  return std::any_of(models.begin(), models.end(),
                     [&](const model_record& r) { return r.hash == hash && r.home; });
}

/// "tcp://10.0.0.7:7420" -> "10.0.0.7"
std::string address_of(const std::string& endpoint) {
  auto from = endpoint.find("://");
  from = from == std::string::npos ? 0 : from + 3;
  return endpoint.substr(from, endpoint.rfind(':') - from);
}

/// A node that listens on every address does not know by which it is reached; its link does.
std::string reachable(const std::string& endpoint, const member& m) {
  for (const char* any : {"tcp://*:", "tcp://0.0.0.0:", "tcp://[::]:"})
    if (endpoint.starts_with(any))
      return "tcp://" + address_of(m.endpoint) + ":" + endpoint.substr(endpoint.rfind(':') + 1);
  return endpoint;
}

std::string described(const member& m) {
  std::string endpoints;
  for (const auto& e : m.record->app_endpoints)
    endpoints += (endpoints.empty() ? "" : ", ") + reachable(e, m);
  auto name = m.name.empty() ? address_of(m.endpoint) : m.name;
  return endpoints.empty() ? name : name + " (" + endpoints + ")";
}

} // namespace

error helper_refusal(const std::string& model, const hash256& hash, const std::string& why,
                     const std::vector<member>& members) {
  std::string nodes;
  size_t named = 0;
  for (const auto& m : members)
    if (answers_for(m, hash) && named++ < most_named)
      nodes += (nodes.empty() ? "" : ", ") + described(m);
  auto only = "this node only helps others to run '" + model + "'";
  if (nodes.empty())
    return {ec::helper_only, only + " (" + why +
                                 "), and no linked node answers for it: start one that has room "
                                 "for its KV, or make room here"};
  return {ec::helper_only, only + ": ask " + nodes};
}

} // namespace coel::actors
