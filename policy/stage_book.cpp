#include "policy/stage_book.hpp"

#include <cassert>

namespace coel::policy {

result<void> stage_book::may_open(node_id home, uint64_t session) const {
  if (sessions_.contains({home, session}))
    return {ec::bad_argument, "session " + std::to_string(session) + " is open already"};
  if (open_sessions() >= limits_.sessions)
    return {ec::busy, "it runs layers for as many sessions as it may (" +
                          std::to_string(limits_.sessions) + ")"};
  return {};
}

void stage_book::open(node_id home, const stage_open& asked, std::vector<uint32_t> pages,
                      moment now) {
  entry e;
  e.asked = asked;
  e.pages = std::move(pages);
  e.used = now;
  sessions_.emplace(id{home, asked.session}, std::move(e));
}

result<void> stage_book::begin(node_id home, const stage_hop& layers,
                               const std::vector<stage_part>& parts, moment now) {
  std::set<uint64_t> named;
  for (const auto& p : parts) {
    auto at = sessions_.find({home, p.session});
    if (at == sessions_.end() || at->second.closed || !named.insert(p.session).second)
      return {ec::unknown_request,
              "session " + std::to_string(p.session) + " is not open at this stage"};
    const auto& e = at->second;
    if (layers.first != e.asked.first || layers.end != e.asked.end || p.position != e.next ||
        p.rows > e.asked.tokens - e.next)
      return {ec::bad_frame, "rows of session " + std::to_string(p.session) +
                                 " are not the next ones of the layers it was opened for"};
  }
  for (const auto& p : parts) {
    auto& e = sessions_.at({home, p.session});
    e.next += p.rows;
    ++e.users;
    e.used = now;
  }
  return {};
}

void stage_book::ended(node_id home, const std::vector<stage_part>& parts, bool ok, moment now) {
  for (const auto& p : parts) {
    auto& e = sessions_.at({home, p.session}); // it is kept as long as it has users
    assert(e.users > 0);
    --e.users;
    e.used = now;
    if (!ok)
      close(e);
  }
  sweep();
}

void stage_book::close(entry& e) {
  e.closed = true;
}

void stage_book::close(node_id home, uint64_t session) {
  if (auto at = sessions_.find({home, session}); at != sessions_.end())
    close(at->second);
  sweep();
}

void stage_book::keep_homes(const std::set<node_id>& up) {
  for (auto& [who, e] : sessions_)
    if (!up.contains(who.first))
      close(e);
  sweep();
}

void stage_book::close_idle(moment now) {
  for (auto& [who, e] : sessions_)
    if (!e.users && now - e.used >= limits_.idle)
      close(e);
  sweep();
}

void stage_book::sweep() {
  std::erase_if(sessions_, [this](auto& s) {
    auto& e = s.second;
    if (!e.closed || e.users)
      return false;
    freed_.insert(freed_.end(), e.pages.begin(), e.pages.end());
    return true;
  });
}

std::vector<uint32_t> stage_book::take_freed() {
  return std::exchange(freed_, {});
}

const std::vector<uint32_t>& stage_book::pages(node_id home, uint64_t session) const {
  return sessions_.at({home, session}).pages;
}

size_t stage_book::open_sessions() const {
  size_t n = 0;
  for (const auto& [who, e] : sessions_)
    n += !e.closed;
  return n;
}

} // namespace coel::policy
