// A node that runs somewhere, asked as an app asks it: what a user of a cluster gets.
#pragma once

#include "bench/engine.hpp"
#include "net/app_client.hpp"

namespace coel::bench {

/// `model`: as the node calls it; empty: its first. Errors: those of app_client::connect.
result<engine_ptr> make_app_engine(const net::app_client_options& to, const std::string& model);

} // namespace coel::bench
