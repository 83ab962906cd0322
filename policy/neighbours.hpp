// Who is near: link sensing, two-hop neighbours and link hysteresis of RFC 3626 (sections 7, 8 and
// 14) as a state machine without clock or socket. docs/perception.md has the states and numbers.
//
// Whatever a HELLO says may be forged, so all tables are bounded: a stranger takes a free place or
// that of another stranger who did not become symmetric, never that of anybody else.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace coel::policy {

using ipv4_address = uint32_t; ///< first byte highest: 10.0.0.1 is 0x0a000001

/// Time since a moment that stays the same while the machine lives.
using moment = std::chrono::microseconds;

enum class link_status : uint8_t { unspecified, asymmetric, symmetric, lost };

/// What a HELLO says of one neighbour of its sender.
struct said_link {
  ipv4_address address = 0;
  link_status link = link_status::unspecified;
  bool neighbour = false; ///< has a symmetric link to the sender, by this interface or another
  bool operator==(const said_link&) const = default;
};

/// In percent, from the two status bytes of a HELLO (policy/perception.hpp); empty: not reported.
struct free_resources {
  std::optional<uint8_t> compute;
  std::optional<uint8_t> memory;
  bool operator==(const free_resources&) const = default;
};

struct heard_hello {
  moment validity{6'000'000};
  moment interval{2'000'000}; ///< until the sender's next one
  free_resources free;
  std::vector<said_link> links;
};

struct heard_packet {
  ipv4_address local = 0;           ///< address of ours that received it
  ipv4_address source = 0;          ///< address that sent it
  uint16_t sequence = 0;            ///< of the packet; gaps tell of losses
  std::optional<heard_hello> hello; ///< a packet without one still shows that the link works
};

struct neighbour_event {
  enum class what : uint8_t {
    heard,          ///< a node of CoEL to which there is no connection
    symmetric,      ///< hears us as we hear it
    lost,           ///< was symmetric and is no longer
    status_changed, ///< free resources of a symmetric neighbour
  } kind{};
  ipv4_address local = 0;
  ipv4_address address = 0;
  free_resources free;
  bool operator==(const neighbour_event&) const = default;
};

struct neighbour_options {
  moment hold{6'000'000}; ///< NEIGHB_HOLD_TIME: how long a lost link is said to be lost
  moment longest_validity{60'000'000}; ///< nobody stays for longer by one HELLO
  moment patience{5'000'000};          ///< that a stranger gets to become symmetric in a full table
  double scaling = 0.5;                ///< HYST_SCALING
  double high = 0.8;                   ///< HYST_THRESHOLD_HIGH
  double low = 0.3;                    ///< HYST_THRESHOLD_LOW
  size_t max_links = 256;              ///< all of them in one HELLO take 1,048 bytes
  size_t max_two_hop = 4096;           ///< of all neighbours together
  size_t max_two_hop_of_one = 256;
};

/// A line of the table, for people and planners.
struct neighbour_view {
  ipv4_address local = 0;
  ipv4_address address = 0;
  link_status status = link_status::unspecified; ///< unspecified: heard too little of it yet
  double quality = 0;                            ///< 0 to 1, hysteresis of section 14
  free_resources free;
  moment silent{0}; ///< since it was last heard
  bool connected = false;
  std::vector<ipv4_address> two_hop; ///< neighbours that it has and we are not
};

class neighbours {
 public:
  using events = std::vector<neighbour_event>;

  explicit neighbours(neighbour_options options = {}) : options_(options) {}

  /// Addresses of this machine: what comes from them is an echo, and they are nobody's two-hop.
  void set_own(std::set<ipv4_address> own) { own_ = std::move(own); }

  /// Strangers never displace a protected address: one from the configuration.
  void protect(ipv4_address address) { protected_.insert(address); }

  /// A connection with the cluster's key stands or fell. Protects while it stands.
  void set_connected(ipv4_address address, bool connected);

  /// `now` never goes back, here and below. Looks at one link only: a flood must not be dear.
  events hear(const heard_packet& packet, moment now);

  /// Silence is counted, links and two-hop neighbours expire.
  events advance(moment now);

  /// When advance has something to do; moment::max() if never.
  moment next_deadline() const;

  /// What our next HELLO from `local` says, by rising address.
  std::vector<said_link> say(ipv4_address local, moment now) const;

  std::vector<neighbour_view> view(moment now) const;

  uint64_t appeared() const { return appeared_; } ///< links that ever began
  uint64_t refused() const { return refused_; }   ///< packets for which there was no place

 private:
  struct key {
    ipv4_address local;
    ipv4_address address;
    auto operator<=>(const key&) const = default;
  };
  struct link {
    moment first_heard{0};
    moment last_heard{0};
    moment interval{0};
    moment next_loss{0};       // when silence counts as a lost packet
    moment symmetric_until{0}; // L_SYM_time
    moment asymmetric_until{0};
    moment lost_until{0}; // L_LOST_LINK_time
    moment expires{0};    // L_time
    uint16_t sequence = 0;
    uint32_t silent_losses =
        0; // counted already, so a gap in the numbers does not count them again
    double quality = 0;
    bool pending = true;    // L_link_pending
    bool symmetric = false; // as the events have told
    free_resources free;
    std::map<ipv4_address, moment> two_hop; // until
  };
  using table = std::map<key, link>;

  bool is_protected(ipv4_address address) const;
  table::iterator find_current(const key& who, moment now, events& out);
  table::iterator find_or_add(const heard_packet& packet, moment now, events& out);
  bool make_room(bool for_protected, moment now, events& out);
  bool count_packet(link& x, uint16_t sequence, moment now) const;
  void sense(link& x, const heard_packet& packet, moment now) const;
  void learn_two_hop(link& x, const heard_hello& hello, moment until);
  void learn_resources(const key& who, link& x, const free_resources& free, events& out);
  void gain(link& x) const;
  void lose(link& x, moment now) const;
  bool is_symmetric(const link& x, moment now) const;
  link_status status(const link& x, moment now) const;
  void tell(const key& who, link& x, moment now, events& out);
  void count_silence(link& x, moment now) const;
  void forget_two_hop(link& x, moment now);
  table::iterator erase(table::iterator at, events& out);

  neighbour_options options_;
  std::set<ipv4_address> own_;
  std::set<ipv4_address> protected_;
  std::set<ipv4_address> connected_;
  table links_;
  size_t two_hop_ = 0;
  uint64_t appeared_ = 0;
  uint64_t refused_ = 0;
};

} // namespace coel::policy
