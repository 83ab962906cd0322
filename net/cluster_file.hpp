// The cluster file: what makes machines one cluster. Every host has a copy; whoever has one is a
// member. Its key pair is the CURVE server pair of every member's link socket: who does not know
// the public key cannot even begin a handshake, so both keys are secrets.
#pragma once

#include "common/result.hpp"
#include "net/keys.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace coel::net {

struct cluster_file {
  std::string name;
  key_pair keys;
  std::vector<std::string> members;  ///< public keys of nodes; empty: every holder of the file
  std::vector<std::string> expelled; ///< public keys of nodes that are refused
  std::vector<std::string> peers;    ///< "host" or "host:link-port", for networks without broadcast
  uint16_t link_port = 7420;
  uint16_t hello_port = 698;
};

/// New keys under that name.
result<cluster_file> make_cluster(std::string name);

/// TOML, mode 0600. Never overwrites.
result<void> write_cluster_file(const std::filesystem::path& file, const cluster_file& cluster);

/// Errors: io; bad_file naming file, line and what to do (also if group or others may read it, for
/// keys that do not belong together, unknown keys of the table, bad ports).
result<cluster_file> read_cluster_file(const std::filesystem::path& file);

/// This node's own key pair in its state folder, made at the first start (its public key is its
/// identity in the cluster).
result<key_pair> node_keys(const std::filesystem::path& state_folder);

} // namespace coel::net
