// Who listens on the wire between two nodes reads nothing: no rows, no sums, no prompt, no weights,
// no names. Each search is also made where it must find: over a wire without keys.
#include "tests/cluster/closed_support.hpp"
#include "tests/cluster/fake_member.hpp"

#include <fstream>
#include <set>

using namespace coel;
using namespace coel::testing;
using namespace std::chrono_literals;
using net::link_frame_kind;
using bytes = fake_member::bytes;

namespace {

constexpr size_t window = 16;

std::string text_of(const void* from, size_t size) {
  return {static_cast<const char*>(from), size};
}

/// Pieces of it that do not occur by chance, as zeros would.
std::vector<std::string> pieces_of(const std::string& text, size_t step) {
  std::vector<std::string> out;
  for (size_t at = 0; at + window <= text.size(); at += step) {
    auto piece = text.substr(at, window);
    if (std::set<char>(piece.begin(), piece.end()).size() >= 4)
      out.push_back(piece);
  }
  return out;
}

size_t found_in(const std::string& where, const std::vector<std::string>& pieces) {
  return static_cast<size_t>(std::count_if(pieces.begin(), pieces.end(), [&](const auto& piece) {
    return ::memmem(where.data(), where.size(), piece.data(), piece.size()) != nullptr;
  }));
}

/// What a tap records of these bytes when they are sent as nodes send frames, but without keys.
std::string recorded_in_plain(const std::string& network, const std::vector<std::string>& content) {
  tap_options t{network + "240", network + "241", "", 7420, true};
  zmq::context_t context;
  zmq::socket_t to(context, zmq::socket_type::router), from(context, zmq::socket_type::dealer);
  to.bind("tcp://" + network + "241:7420");
  tap wire(t);
  from.connect("tcp://" + network + "240:7420");
  for (const auto& one : content)
    from.send(zmq::buffer(one));
  for (size_t i = 0; i < content.size(); ++i) {
    zmq::message_t part;
    do
      BOOST_REQUIRE(to.recv(part));
    while (part.more());
  }
  return wire.recorded();
}

void check_hidden(const std::string& recorded, const std::string& in_plain,
                  const std::vector<std::string>& pieces, const std::string& what) {
  BOOST_TEST_CONTEXT(what) {
    BOOST_TEST(pieces.size() > 0u);
    BOOST_TEST(found_in(recorded, pieces) == 0u);
    BOOST_TEST(found_in(in_plain, pieces) == pieces.size());
  }
}

/// The numbers as they would lie in a frame.
template <class T>
std::string numbers(const std::vector<int32_t>& tokens) {
  std::vector<T> out(tokens.begin(), tokens.end());
  return text_of(out.data(), out.size() * sizeof(T));
}

/// A node with half of its model and a member that has the rest, over two taps.
struct tapped_member {
  explicit tapped_member(net::wire_type wire) : all(1, half(wire)) {
    there.emplace(tap_options{network + "101", network + "1", "", 7420, true});
    back.emplace(tap_options{network + "102", network + "103", "", 7420, true});
    member_options o;
    o.listen = network + "103";
    o.said = network + "102";
    o.node = network + "101";
    member.emplace(file_of(all), o,
                   [this](auto& me, auto kind, const bytes& frame) { act(me, kind, frame); });
  }
  ~tapped_member() { member.reset(); }

  static node_options half(net::wire_type wire) {
    node_options o;
    o.share = 0.5;
    o.wire = wire;
    return o;
  }
  void act(fake_member& me, link_frame_kind kind, const bytes& frame) {
    if (kind == link_frame_kind::record)
      return me.claim_everything(frame);
    if (kind != link_frame_kind::dispatch)
      return;
    auto asked = net::decode_dispatch(frame);
    BOOST_REQUIRE(asked.ok());
    std::vector<float> values(asked->activations.size());
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = 0.001f * static_cast<float>((i * 7919 + asked->head.id) % 1009);
    net::sum_frame head{
        asked->head.id, asked->head.rows, asked->head.hidden, asked->head.wire, 1, 1, {}};
    auto answer = net::encode(head, values);
    sums.push_back(text_of(answer.data(), answer.size()));
    me.send(std::move(answer));
  }

  test_cluster all;
  std::string network = network_of(all);
  std::optional<tap> there, back;
  std::vector<std::string> sums;
  std::optional<fake_member> member; // its thread ends first
};

} // namespace

BOOST_AUTO_TEST_SUITE(capture)

BOOST_AUTO_TEST_CASE(rows_sums_and_prompts_are_not_readable_on_the_wire) {
  for (auto wire : {net::wire_type::f32, net::wire_type::f16, net::wire_type::int8})
    BOOST_TEST_CONTEXT("wire type " << int(wire)) {
      tapped_member t(wire);
      test_cluster::wait_for([&] { return "the member to be counted on" + t.all.links(0); },
                             [&] {
                               auto p = t.all.placement(0);
                               return p.nodes.size() == 2 && p.uncovered == 0 && p.wanted == 0;
                             });
      application app(t.all.node(0).endpoints().front());
      auto said = app.greedy(story, 6);
      BOOST_TEST(said.failure == "");
      auto dispatches = t.member->frames(link_frame_kind::dispatch);
      BOOST_REQUIRE(dispatches.size() > 4u);
      t.member.reset();
      auto recorded = t.there->recorded() + t.back->recorded();

      std::vector<std::string> frames = t.sums;
      size_t all_bytes = 0;
      for (const auto& frame : dispatches)
        frames.push_back(text_of(frame.data(), frame.size()));
      std::vector<std::string> pieces;
      for (const auto& frame : frames) {
        all_bytes += frame.size();
        auto more = pieces_of(frame, 1 + frame.size() / 40);
        pieces.insert(pieces.end(), more.begin(), more.end());
      }
      BOOST_TEST(recorded.size() > all_bytes); // it did go that way
      const auto& model = *t.all.model(0).model;
      auto tokens = model.tokenizer->encode(story, false, false);
      std::vector<std::string> prompt{story, numbers<int32_t>(tokens), numbers<uint16_t>(tokens)};
      std::vector<std::string> names{"node0", "coel-link"};
      auto content = frames;
      content.insert(content.end(), prompt.begin(), prompt.end());
      content.insert(content.end(), names.begin(), names.end());
      auto in_plain = recorded_in_plain(t.network, content);

      check_hidden(recorded, in_plain, pieces, "rows and sums");
      for (const auto& text : prompt)
        check_hidden(recorded, in_plain, pieces_of(text, 1), "the prompt");
      check_hidden(recorded, in_plain, names, "names");
    }
}

BOOST_AUTO_TEST_CASE(a_model_that_is_fetched_is_not_readable_on_the_wire) {
  node_options how;
  how.adjust = [](size_t i, actors::node_config& c) {
    c.ram_bytes = uint64_t{1} << 30;
    c.join.folder = c.cluster->file.parent_path() / ("models" + std::to_string(i));
    if (i == 1)
      c.models.clear();
  };
  tapped_cluster net(2, how, true);
  auto& all = net.nodes();
  test_cluster::wait_for([] { return "node 1 to host the model"; },
                         [&] { return all.node(1).models()->size() == 1; });
  all.settle();
  auto tokens = some_tokens(16);
  BOOST_TEST(same_answer(must(all.logits(1, tokens)), must(all.logits(0, tokens))));
  auto recorded = net.recorded();
  std::ifstream in(demo_model, std::ios::binary);
  std::string model{std::istreambuf_iterator<char>(in), {}};
  BOOST_TEST(recorded.size() > model.size()); // it did go that way
  std::vector<std::string> blocks, pieces;
  for (size_t at = 0; at < model.size(); at += 1 << 16) {
    blocks.push_back(model.substr(at, 1 << 16));
    auto more = pieces_of(blocks.back(), 20000);
    pieces.insert(pieces.end(), more.begin(), more.end());
  }
  check_hidden(recorded, recorded_in_plain(network_of(all), blocks), pieces, "weights");
}

BOOST_AUTO_TEST_SUITE_END()
