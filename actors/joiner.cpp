#include "actors/joiner.hpp"

#include "actors/errors.hpp"
#include "actors/tier_plan.hpp"
#include "model/manifest_io.hpp"
#include "model/quoted.hpp"
#include "model/weights.hpp"
#include "net/link_frames.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = joiner_actor::stateful_pointer<joiner_state>;
using joining = joiner_state::joining;
using namespace std::chrono_literals;

constexpr auto tick_every = 500ms;
constexpr auto tell_every = 2s;
constexpr auto retry_after = 30s;
constexpr auto part_patience = 30s; // a link answers before
constexpr uint64_t max_manifest_bytes = uint64_t{256} << 20;
/// Beside the model's files, which never begin with a dot: keys of the clusters that it was joined
/// in.
constexpr const char* clusters_name = ".clusters";

void event(const joiner_state& st, const std::string& line) {
  if (st.config.event)
    st.config.event("event=" + line);
}

bool to_be_joined(const joiner_state& st, const std::string& name) {
  const auto& names = st.config.names;
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

void fail(self_ptr self, const hash256& hash, const error& why) {
  auto& st = self->state;
  auto& m = st.models.at(hash);
  bool news = !m.failed || m.failed->message != why.message;
  m.failed = why;
  m.retry = steady::now() + retry_after;
  if (news)
    event(st, "join-failed model=" + model::in_quotes(m.name) +
                  " why=" + model::in_quotes(why.message));
}

// ---- a mirror is here: fetch what is missing, then host

/// Weights that every token needs, from the budget; given back if the rest does not fit.
result<void> account(self_ptr self, const served_model& m) {
  caf::scoped_actor here{self->system()};
  result<void> outcome;
  here->request(pinned_tier(m, self->state.config.ram), caf::infinite, atom::reserve::value,
                memory_kind::weights, m.dense.bytes)
      .receive([](bool) {}, [&](caf::error& why) { outcome = from_caf(why); });
  return outcome;
}

result<void> host(self_ptr self, const hash256& hash, const opened_mirror& opened) {
  auto& st = self->state;
  auto& m = st.models.at(hash);
  if (st.config.models->named(m.name))
    return {
        ec::bad_argument,
        "another model of that name is served here: give that one another with --model NAME=FILE"};
  auto made = serve_source(opened.source, m.name, st.config.device, st.config.hosting.helper_only);
  if (!made)
    return made.err();
  auto served = std::move(*made);
  served->hash = hash;
  served->presence = opened.presence;
  served->fetcher = m.fetcher;
  use_near(*served, st.config.hosting);
  if (m.mirror->complete()) { // else a part of it is still with neighbours
    auto notes = plan_pools({served}, {}, st.config.hosting.pool_share);
    if (!notes)
      return notes.err();
    for (const auto& note : *notes)
      event(st, "store " + note);
  }
  auto room = account(self, *served);
  if (!room && room.err().code != ec::out_of_memory)
    return room;
  auto hosted =
      room ? host_in_cluster(self->system(), served, st.config.ram, st.config.hosting)
           : host_helper(self->system(), served, st.config.ram, st.config.hosting, room.err());
  if (!hosted) {
    self->send(pinned_tier(*served, st.config.ram), atom::release::value, memory_kind::weights,
               served->dense.bytes);
    return hosted.err();
  }
  if (auto bytes = model::expert_file_bytes(*opened.source, {}))
    m.expert_bytes = *bytes;
  if (!hosted->scheduler)
    event(st, helper_event(*hosted));
  st.config.models->add(std::move(*hosted));
  return {};
}

void open_and_host(self_ptr self, const hash256& hash) {
  self->request(self->state.models.at(hash).fetcher, caf::infinite, atom::open::value)
      .then(
          [=](const opened_mirror_ptr& opened) {
            auto& st = self->state;
            auto& m = st.models.at(hash);
            if (auto ok = host(self, hash, *opened); !ok)
              return fail(self, hash, ok.err());
            m.failed.reset();
            m.hosted = true;
            st.config.models->fetched(m.name);
            event(st, "hosted model=" + model::in_quotes(m.name));
          },
          [=](caf::error& why) { fail(self, hash, from_caf(why)); });
}

std::vector<model::model_file> files_of(const model::mirror& mirror) {
  std::vector<model::model_file> files;
  for (const auto& file : mirror.description().files())
    files.push_back({file.name, mirror.folder() / file.name});
  return files;
}

void fill(self_ptr self, const hash256& hash, const model::mirror_ptr& mirror) {
  auto& st = self->state;
  auto& m = st.models.at(hash);
  m.mirror = mirror;
  st.config.kept->add(
      {std::make_shared<const model::manifest>(mirror->description()), files_of(*mirror), mirror});
  fetcher_config config;
  config.model = m.name;
  config.mirror = mirror;
  config.perception = st.config.perception;
  config.chunks_per_peer = st.config.chunks_per_peer;
  config.piece_bytes = st.config.piece_bytes;
  m.fetcher = self->spawn<caf::detached>(fetcher, std::move(config));
  open_and_host(self, hash);
}

// ---- mirrors that an earlier start has left

std::string clusters_of(const std::filesystem::path& folder) {
  auto bytes = model::read_whole(folder / clusters_name, 1 << 20);
  return bytes ? std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size())
               : std::string();
}

/// Without a neighbour nobody tells whose models these are.
void remember_cluster(const joiner_state& st, const std::filesystem::path& folder) {
  auto known = clusters_of(folder);
  if (known.find(st.config.cluster) != std::string::npos)
    return;
  known += st.config.cluster + "\n";
  (void)model::replace_whole(folder / clusters_name, std::as_bytes(std::span(known))).ok();
}

void reuse(self_ptr self, const std::filesystem::path& folder) {
  auto& st = self->state;
  auto hash = model::sha256_from_hex(folder.filename().string());
  if (!hash || clusters_of(folder).find(st.config.cluster) == std::string::npos ||
      st.config.models->with(*hash))
    return;
  auto mirror = model::mirror::reopen(folder);
  if (mirror && ((*mirror)->description().hash() != *hash ||
                 !to_be_joined(st, (*mirror)->description().title())))
    return;
  auto& m = st.models[*hash];
  m.name = mirror ? (*mirror)->description().title() : folder.filename().string();
  if (!mirror)
    return fail(self, *hash, mirror.err());
  fill(self, *hash, *mirror);
}

void reuse_all(self_ptr self) {
  std::error_code ignored;
  std::vector<std::filesystem::path> folders;
  for (const auto& entry : std::filesystem::directory_iterator(self->state.config.folder, ignored))
    folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  for (const auto& folder : folders)
    reuse(self, folder);
}

// ---- a neighbour announces a model: its manifest first

void make_mirror(self_ptr self, const hash256& hash) {
  auto& st = self->state;
  auto& m = st.models.at(hash);
  auto description = model::manifest::decode(std::exchange(m.manifest, {}));
  if (!description)
    return fail(self, hash, description.err());
  description->retitle(m.name);
  auto mirror = model::mirror::open(st.config.folder, *description);
  if (!mirror)
    return fail(self, hash, mirror.err());
  remember_cluster(st, (*mirror)->folder());
  fill(self, hash, *mirror);
}

void ask_next(self_ptr self, const hash256& hash, const error& why);

bool is_right(const std::vector<std::byte>& bytes, const hash256& hash) {
  auto decoded = model::manifest::decode(bytes);
  return decoded && decoded->hash() == hash;
}

void ask_part(self_ptr self, const hash256& hash);

void take_part(self_ptr self, const hash256& hash, const file_block& part) {
  auto& bytes = self->state.models.at(hash).manifest;
  if (part.bytes.empty() || part.total > max_manifest_bytes ||
      bytes.size() + part.bytes.size() > part.total)
    return ask_next(self, hash,
                    {ec::bad_frame, "a neighbour sent no manifest when it was asked for one"});
  bytes.insert(bytes.end(), part.bytes.begin(), part.bytes.end());
  if (bytes.size() < part.total)
    return ask_part(self, hash);
  if (!is_right(bytes, hash))
    return ask_next(
        self, hash,
        {ec::bad_file, "a neighbour sent a manifest that is not of the model that it announces"});
  make_mirror(self, hash);
}

void ask_part(self_ptr self, const hash256& hash) {
  const auto& m = self->state.models.at(hash);
  file_want ask{hash, net::want_frame::manifest_file, m.manifest.size(), net::max_block_bytes};
  self->request(m.to_ask.front(), part_patience, ask)
      .then([=](const file_block& part) { take_part(self, hash, part); },
            [=](caf::error& why) { ask_next(self, hash, from_caf(why)); });
}

void ask_next(self_ptr self, const hash256& hash, const error& why) {
  auto& m = self->state.models.at(hash);
  m.manifest.clear();
  m.to_ask.pop_front();
  if (m.to_ask.empty())
    return fail(self, hash, why);
  ask_part(self, hash);
}

// ---- clock

struct offer {
  std::string name;
  std::deque<neighbour_actor> from; ///< who has the manifest
};

std::map<hash256, offer> offers(const joiner_state& st, const std::vector<member>& members) {
  std::map<hash256, offer> all;
  for (const auto& who : members) {
    if (!who.up || !who.record)
      continue;
    for (const auto& r : who.record->models) {
      if (!(r.complete || r.chunks.size()) || !to_be_joined(st, r.name))
        continue;
      auto& one = all[r.hash];
      if (one.name.empty())
        one.name = r.name;
      one.from.push_back(who.link);
    }
  }
  return all;
}

void begin(self_ptr self, const hash256& hash, const offer& what) {
  auto& st = self->state;
  auto& m = st.models.at(hash);
  if (st.config.models->named(m.name))
    return fail(self, hash,
                {ec::bad_argument, "another model of that name is served here: give that one "
                                   "another with --model NAME=FILE"});
  m.to_ask = what.from;
  st.config.models->fetching(m.name, 0);
  ask_part(self, hash);
}

/// Of a failure in the middle, everything that was reached stays.
void try_again(self_ptr self, const hash256& hash, const offer& what) {
  auto& m = self->state.models.at(hash);
  if (!m.failed || steady::now() < m.retry)
    return;
  m.retry = steady::time_point::max(); // until it fails again
  if (m.fetcher)
    return open_and_host(self, hash);
  begin(self, hash, what);
}

void consider(self_ptr self, const members_ptr& members) {
  auto& st = self->state;
  for (const auto& [hash, what] : offers(st, *members)) {
    if (st.models.contains(hash)) {
      try_again(self, hash, what);
      continue;
    }
    if (st.config.models->with(hash))
      continue;
    st.models[hash].name = what.name;
    event(st, "joining model=" + model::in_quotes(what.name) + " hash=" + model::to_hex(hash));
    begin(self, hash, what);
  }
}

/// With what is not asked for yet, as far as the updater has planned.
fetch_status with_plan(const joining& m, fetch_status now) {
  auto most = now.done_bytes + m.mirror->missing_bytes();
  now.of_bytes = std::min(now.of_bytes + m.wanted * m.expert_bytes, most);
  return now;
}

void report(self_ptr self, const hash256& hash, const fetch_status& fetched) {
  auto& st = self->state;
  auto& m = st.models.at(hash);
  auto now = with_plan(m, fetched);
  if (!m.hosted)
    st.config.models->fetching(
        m.name, static_cast<uint32_t>(now.of_bytes ? now.done_bytes * 100 / now.of_bytes : 100));
  if (steady::now() - m.told_at < tell_every)
    return;
  if (now.trouble != m.told.trouble && !now.trouble.empty())
    event(st, "fetching-stopped model=" + model::in_quotes(m.name) +
                  " why=" + model::in_quotes(now.trouble));
  if (now.done_bytes != m.told.done_bytes)
    event(st, "fetching model=" + model::in_quotes(m.name) + " done=" +
                  std::to_string(now.done_bytes) + " of=" + std::to_string(now.of_bytes));
  m.told = now;
  m.told_at = steady::now();
}

void take_plans(joiner_state& st, const std::vector<placement_status>& plans) {
  for (auto& [hash, m] : st.models)
    for (const auto& plan : plans)
      if (m.hosted && plan.model == m.name)
        m.wanted = plan.wanted;
}

void tick(self_ptr self) {
  auto& st = self->state;
  self->request(st.config.updater, 5s, atom::details::value)
      .then([self](const std::vector<placement_status>& plans) { take_plans(self->state, plans); },
            [](caf::error&) {});
  self->request(st.config.perception, 5s, atom::members::value)
      .then([self](const members_ptr& members) { consider(self, members); }, [](caf::error&) {});
  for (const auto& [hash, m] : st.models)
    if (m.fetcher)
      self->request(m.fetcher, 5s, atom::details::value)
          .then([self, hash = hash](const fetch_status& now) { report(self, hash, now); },
                [](caf::error&) {});
  self->delayed_send(self, tick_every, atom::tick::value);
}

caf::result<std::vector<fetch_status>> ask_details(self_ptr self) {
  auto promise = self->make_response_promise<std::vector<fetch_status>>();
  auto all = std::make_shared<std::vector<fetch_status>>();
  auto left = std::make_shared<size_t>(1);
  auto over = [promise, all, left]() mutable {
    if (--*left == 0)
      promise.deliver(std::move(*all));
  };
  for (const auto& [hash, m] : self->state.models) {
    if (!m.fetcher)
      continue;
    ++*left;
    self->request(m.fetcher, 5s, atom::details::value)
        .then(
            [all, over](const fetch_status& s) mutable {
              all->push_back(s);
              over();
            },
            [over](caf::error&) mutable { over(); });
  }
  over();
  return promise;
}

} // namespace

joiner_actor::behavior_type joiner(self_ptr self, joiner_config config) {
  self->state.config = std::move(config);
  self->set_exit_handler([self](caf::exit_msg& end) {
    for (const auto& [hash, m] : self->state.models)
      if (m.fetcher)
        self->send_exit(m.fetcher, end.reason);
    self->quit(std::move(end.reason));
  });
  reuse_all(self);
  self->send(self, atom::tick::value);
  return {
      [self](atom::status) { return self->state.cost.status(self, "joiner"); },
      [self](atom::details) -> caf::result<std::vector<fetch_status>> { return ask_details(self); },
      [self](atom::tick) {
        auto measured = self->state.cost.measure();
        tick(self);
      },
  };
}

} // namespace coel::actors
