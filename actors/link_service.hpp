// What a link does for its neighbour: experts, columns of the output matrix, parts of files. Each
// is answered by a frame, at the latest with a failure.
#pragma once

#include "actors/link.hpp"

namespace coel::actors {

void help_with_experts(link_ptr self, net::dispatch_frame asked);
void help_with_output(link_ptr self, net::output_frame asked);
void serve_block(link_ptr self, const net::want_frame& want);

void answer_failure(link_ptr self, uint64_t id, const error& why);

} // namespace coel::actors
