// Sessions over a link: those of this node that the neighbour is the home of, and those of its own
// that are decoded here. Each ends with an answer that is no token, whatever happens to the link.
#pragma once

#include "actors/link.hpp"

namespace coel::actors {

// This node's sessions there.
caf::result<bool> send_guest(link_ptr self, const guest_order& order);
void take_guest_back(link_ptr self, request_id id);
void guest_answered(link_ptr self, const net::guest_answer_frame& said);

// Its sessions here.
void receive_guest(link_ptr self, const net::guest_frame& asked);
void answer_for_guest(link_ptr self, const app_answer& said);
void dismiss_guest(link_ptr self, uint64_t id);
void refuse_guest(link_state& st, uint64_t id, const error& why);
/// One that ended without a last answer has crashed: its home elsewhere must not wait for ever.
void guest_is_gone(link_ptr self, const caf::down_msg& down);

/// The link is down: those there fail with the reason, those here are cancelled.
void part_from_guests(link_ptr self, const error& why);

} // namespace coel::actors
