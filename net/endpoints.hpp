// Where a node listens and clients look for it, and what may be listened on.
#pragma once

#include "common/result.hpp"

#include <filesystem>
#include <string>

namespace coel::net {

/// ipc://$XDG_RUNTIME_DIR/coel/node.sock, or ipc:///tmp/coel-UID/node.sock where that is not set.
std::string default_endpoint();

enum class endpoint_kind : uint8_t {
  ipc,          ///< a socket file: its permissions protect it
  tcp_loopback, ///< this machine only, but every user of it
  tcp,          ///< the network: keys are required
};

/// Errors: bad_argument (neither ipc://PATH nor tcp://HOST:PORT, or too long).
result<endpoint_kind> classify_endpoint(const std::string& endpoint);

/// Path of an ipc endpoint; empty for others.
std::filesystem::path socket_path(const std::string& endpoint);

/// Makes a place for the socket: its folder is created with mode 0700 where it is missing, and a
/// file that a killed node left behind is removed. Errors: io, bad_argument (somebody listens
/// there, the path is something else than a socket, or others may write to its folder).
result<void> prepare_socket_path(const std::filesystem::path& path);

/// Removes the file of a socket that has been closed, unless somebody else listens there by now.
void remove_socket_file(const std::filesystem::path& path);

/// True if somebody listens at the socket file.
bool somebody_listens(const std::filesystem::path& path);

} // namespace coel::net
