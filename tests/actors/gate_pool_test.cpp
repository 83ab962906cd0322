// Experts that no node holds are read where the rows are; so are those of a neighbour that fails,
// and what cannot be read is asked of who holds it.
#include "../model/disk_files.hpp"
#include "actors/tier_plan.hpp"
#include "gate_world.hpp"

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

struct pool_world : gate_world {
  std::vector<float> wanted = expected();
  std::shared_ptr<std::atomic<bool>> broken = std::make_shared<std::atomic<bool>>(false);

  /// With room for that many experts.
  void start_pool(uint64_t experts) {
    BOOST_REQUIRE(plan_pools({model}, {}, policy::usual_pool_share).ok());
    BOOST_REQUIRE(model->pool);
    model->pool->engine = [broken = broken](uint32_t depth, model::read_engine::finished done) {
      return std::make_unique<model::test::lying_engine>(
          depth, std::move(done), [broken](int64_t truth) { return *broken ? -5 : truth; });
    };
    auto bytes = experts * model->pool->needs.expert_bytes;
    resize(bytes);
    BOOST_TEST(weights_in_tier() >= bytes);
    model->pool->lends = true;
  }
  void resize(uint64_t bytes) {
    auto reads = std::make_shared<served_model>(*model);
    reads->tiered = model->pool;
    self->request(ram, generous, pool_order{reads, bytes, {}})
        .receive([&](uint64_t has) { BOOST_TEST(has == bytes); },
                 [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
  }
  uint64_t weights_in_tier() {
    uint64_t out = 0;
    self->request(ram, generous, atom::details::value)
        .receive([&](const tier_status& s) { out = s.weights_bytes; },
                 [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
    return out;
  }
  uint64_t rows_of_expert(uint32_t e) const {
    uint64_t n = 0;
    for (size_t i = 0; i < size_t{rows} * model->config().top_k; ++i)
      n += buffers().ids->i32()[i] == static_cast<int32_t>(e);
    return n;
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(gate_pool, pool_world)

BOOST_AUTO_TEST_CASE(what_nobody_holds_is_read) {
  for (uint64_t experts : {1u, 2u, 40u}) {
    start_pool(experts);
    links one{{there, link(constant(100))}};
    auto done = dispatch(gate_at(view(table({{3, {}}, {5, {}}}), one)));
    check_right(done, wanted);
    BOOST_TEST(done.rows_read == rows_of_expert(3) + rows_of_expert(5));
    BOOST_TEST(done.rows_away == 0u);
    model->pool.reset();
  }
}

BOOST_AUTO_TEST_CASE(without_neighbours_too_and_the_second_time_it_is_there) {
  start_pool(40);
  auto gate = gate_at(view(table({{3, {}}, {5, {}}})));
  check_right(dispatch(gate), wanted);
  auto again = dispatch(gate);
  check_right(again, wanted);
  BOOST_TEST(again.rows_read == 0u);
}

BOOST_AUTO_TEST_CASE(the_experts_of_a_neighbour_that_fails_are_read) {
  start_pool(40);
  prefer({there, here}); // before a read
  links one{{there, link(refusing({ec::deadline, "it is gone"}))}};
  auto done = dispatch(gate_at(view(table({{3, {there}}, {5, {there}}}), one)));
  check_right(done, wanted);
  BOOST_TEST(done.repeats == 1u);
  BOOST_TEST(done.rows_read == rows_of_expert(3) + rows_of_expert(5));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_read_is_asked_of_who_holds_it) {
  start_pool(40);
  *broken = true;
  prefer({here, there}); // by far slower than a disk
  auto notes = std::make_shared<notebook>();
  links one{{there, link(honest(notes))}};
  auto done = dispatch(gate_at(view(table({{3, {there}}}), one)));
  check_right(done, wanted);
  BOOST_TEST(notes->all().size() == 1u);
  BOOST_TEST(done.rows_away == rows_of_expert(3));
}

BOOST_AUTO_TEST_CASE(what_nobody_has_and_no_disk_gives_fails_with_the_reason) {
  start_pool(40);
  *broken = true;
  auto done = dispatch(gate_at(view(table({{3, {}}}), {{there, link(honest())}})));
  BOOST_REQUIRE(!done.outcome.ok());
  BOOST_TEST((done.outcome.err().code == ec::io));
  *broken = false; // and the next step is served
  check_right(dispatch(gate_at(view(table({{3, {}}}), {{there, link(honest())}}))), wanted);
}

BOOST_AUTO_TEST_CASE(a_pool_that_was_emptied_gives_all_back_and_begins_again) {
  start_pool(40);
  links one{{there, link(honest())}};
  auto gate = gate_at(view(table({{3, {}}, {5, {}}}), one));
  for (int time = 0; time < 2; ++time) {
    auto read = dispatch(gate);
    check_right(read, wanted);
    BOOST_TEST(read.rows_read == rows_of_expert(3) + rows_of_expert(5));
    auto full = weights_in_tier();
    resize(0);
    auto bytes = 40 * model->pool->needs.expert_bytes + beside_bytes(*model->pool);
    BOOST_TEST(weights_in_tier() == full - bytes);
    // Who asks it all the same, because it has not heard yet, asks the holder then.
    prefer({here, there});
    auto asked = dispatch(gate_at(view(table({{3, {there}}, {5, {there}}}), one)));
    check_right(asked, wanted);
    BOOST_TEST(asked.rows_away == rows_of_expert(3) + rows_of_expert(5));
    resize(40 * model->pool->needs.expert_bytes);
  }
}

BOOST_AUTO_TEST_CASE(a_tier_without_room_refuses_and_loses_nothing) {
  ram = keep(system.spawn(tier, [] {
    tier_config c;
    c.budget_bytes = 1;
    return c;
  }()));
  BOOST_REQUIRE(plan_pools({model}, {}, policy::usual_pool_share).ok());
  auto reads = std::make_shared<served_model>(*model);
  reads->tiered = model->pool;
  self->request(ram, generous, pool_order{reads, 1000, {}})
      .receive([](uint64_t) { BOOST_FAIL("there is no room"); },
               [](caf::error& e) { BOOST_TEST((from_caf(e).code == ec::out_of_memory)); });
  BOOST_TEST(weights_in_tier() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
