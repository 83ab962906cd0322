#include "net/outbox.hpp"

#include <algorithm>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace coel::net {

outbox::outbox() : event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (event_ < 0)
    throw std::system_error(errno, std::generic_category(), "eventfd");
}

outbox::~outbox() {
  ::close(event_);
}

void outbox::push(entry one) {
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    first = content_.entries.empty();
    if (content_.entries.size() < limit)
      content_.entries.push_back(std::move(one));
    else if (std::find(content_.overrun.begin(), content_.overrun.end(), one.client) ==
             content_.overrun.end())
      content_.overrun.push_back(one.client);
  }
  if (first)
    wake();
}

void outbox::wake() {
  uint64_t one = 1;
  (void)!::write(event_, &one, sizeof one); // fails only if it is readable already
}

outbox::content outbox::take() {
  uint64_t count = 0;
  (void)!::read(event_, &count, sizeof count);
  std::lock_guard lock(mutex_);
  return std::exchange(content_, {});
}

} // namespace coel::net
