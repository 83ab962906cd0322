// What a link asks of its neighbour for this node, and what comes of it. Every question is
// answered: by the neighbour, by its deadline, or when the link goes down.
#pragma once

#include "actors/link.hpp"

namespace coel::actors {

// Errors: io (not connected), busy (it owes too much already), then what the neighbour says, and
// deadline.
caf::result<partial_sum> ask_for_experts(link_ptr self, const remote_dispatch& ask);
caf::result<partial_sum> ask_for_output(link_ptr self, const remote_output& ask);
caf::result<file_block> ask_for_block(link_ptr self, const file_want& ask);

// Frames that answer; those of questions that were given up are dropped.
void sum_came(link_ptr self, net::sum_frame sum, size_t frame_bytes);
/// Its question fails; what else is asked of the neighbour may still come right.
void unusable_sum_came(link_ptr self, uint64_t id, const std::string& why);
void block_came(link_ptr self, net::block_frame block, size_t frame_bytes);
void failure_came(link_ptr self, const net::failure_frame& failure);

/// Those whose time is over.
void give_up_late(link_state& st);
/// All of them.
void fail_questions(link_state& st, const error& why);

} // namespace coel::actors
