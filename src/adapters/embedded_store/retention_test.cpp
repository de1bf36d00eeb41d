// Purging: tombstones stay, plans with open tickets stay, each run is bounded.
#include <algorithm>

#include "adapters/embedded_store/testing/fixture.h"

namespace wa::testing {
namespace {

class RetentionTest : public ::testing::Test {
protected:
    void open(StoreRetention retention) {
        store_.reset();
        StoreOptions options;
        options.path = folder_.path() / "worker.db";
        options.limits.reserve_bytes = 0;
        options.retention = retention;
        auto opened = EmbeddedStore::open(options, clock_, random_);
        ASSERT_TRUE(opened) << opened.error().describe();
        store_ = std::move(*opened);
    }
    void add(const std::string& plan, std::vector<std::string> ids, bool end_all = true,
             Outcome outcome = Outcome::kCompleted) {
        std::vector<NewTicket> tickets;
        for (const auto& id : ids)
            tickets.push_back(make_ticket(id));
        const auto done = wait<SubmitAnswer>([&](auto answer) { store_->submit(make_request(tickets, plan), answer); });
        ASSERT_TRUE(done) << done.error().describe();
        if (!end_all) return;
        for (const auto& ticket : done->tickets) {
            Record record;
            record.position.offset = record.origin.offset = ticket.queue_seq;
            record.key = ticket.ticket_id;
            Settlement settlement = ending(record, outcome, is_success(outcome) ? "" : "no");
            settlement.result.timestamp = settlement.result.completed_at = clock_.wall_now();
            CommitBatch batch;
            batch.settlements.push_back(std::make_shared<Settlement>(settlement));
            engine_ = engine_ ? std::move(engine_) : std::make_unique<Engine>(*store_);
            ASSERT_EQ(engine_->commit(std::move(batch)).status, CommitStatus::kCommitted);
        }
        engine_.reset();
    }
    PurgeAnswer purge() {
        const auto done = wait<PurgeAnswer>([&](auto answer) { store_->purge(answer); });
        EXPECT_TRUE(done) << done.error().describe();
        return done ? *done : PurgeAnswer{};
    }
    static StoreRetention after_an_hour() {
        StoreRetention retention;
        retention.keep_ended = std::chrono::hours(1);
        retention.run_every = Duration::zero();
        return retention;
    }

    TempFolder folder_;
    ManualClock clock_;
    SeededRandom random_{3};
    std::unique_ptr<EmbeddedStore> store_;
    std::unique_ptr<Engine> engine_;
};

TEST_F(RetentionTest, EndedPlansGoAndTheirEndingsStayKnown) {
    open(after_an_hour());
    add("old", {"ok-1", "ok-2"});
    add("bad", {"bad-1"}, true, Outcome::kExecutionFailed);
    EXPECT_EQ(purge().tickets, 0);
    clock_.advance(std::chrono::hours(2));
    add("new", {"new-1"});
    const PurgeAnswer done = purge();
    EXPECT_EQ(done.tickets, 3);
    EXPECT_EQ(done.plans, 2);
    EXPECT_EQ(store_->ticket("ok-1").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(store_->plan("old").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(store_->tickets({})->total, 1);
    const auto known = store_->statuses({"ok-1", "bad-1"});
    EXPECT_EQ((*known)[0].state, DependencyState::kCompleted);
    EXPECT_EQ((*known)[1].state, DependencyState::kFailed);
    // COMPLETED stays sticky without its record; FAILED may run again.
    const auto again = [&](const std::string& id) {
        return wait<SubmitAnswer>(
            [&](auto answer) { store_->submit(make_request({make_ticket(id)}, "again"), answer); });
    };
    EXPECT_EQ(again("ok-1").error().code, ErrorCode::kConflict);
    const auto bad = again("bad-1");
    ASSERT_TRUE(bad) << bad.error().describe();
    EXPECT_EQ(bad->tickets[0].disposition, Disposition::kCreated);
    EXPECT_EQ(store_->statuses({"bad-1"})->at(0).state, DependencyState::kOpen);
}

TEST_F(RetentionTest, APlanWithAnOpenTicketStaysWhole) {
    open(after_an_hour());
    add("mixed", {"done-1", "done-2"});
    add("mixed", {"open-1"}, false);
    add("", {"loose-1"});
    add("", {"loose-open"}, false);
    clock_.advance(std::chrono::hours(24));
    EXPECT_EQ(purge().tickets, 1);
    EXPECT_TRUE(store_->ticket("done-1"));
    EXPECT_TRUE(store_->ticket("loose-open"));
    EXPECT_EQ(store_->ticket("loose-1").error().code, ErrorCode::kNotFound);
}

TEST_F(RetentionTest, ARunIsBoundedAndGoesOnWhereItStopped) {
    StoreRetention retention = after_an_hour();
    retention.tickets_per_run = 3;
    open(retention);
    add("old", {"a-1", "a-2", "a-3", "a-4", "a-5", "a-6", "a-7"});
    clock_.advance(std::chrono::hours(2));
    EXPECT_EQ(purge().tickets, 3);
    EXPECT_EQ(store_->plan("old")->total, 4);
    EXPECT_EQ(purge().tickets, 3);
    const PurgeAnswer last = purge();
    EXPECT_EQ(last.tickets, 1);
    EXPECT_EQ(store_->tickets({})->total, 0);
    purge();
    EXPECT_EQ(store_->plans(0, 10)->total, 0);
    EXPECT_EQ(store_->unfinished().value(), 0);
}

TEST_F(RetentionTest, NumbersAreBoundedToo) {
    StoreRetention retention = after_an_hour();
    retention.keep_tickets = 2;
    retention.keep_tombstones = 1;
    open(retention);
    add("p1", {"a-1", "a-2"});
    add("p2", {"b-1", "b-2"});
    const PurgeAnswer done = purge();
    EXPECT_EQ(done.tickets, 2);
    EXPECT_EQ(done.tombstones_dropped, 1);
    EXPECT_TRUE(store_->plan("p2"));
    EXPECT_EQ(store_->statuses({"a-1"})->at(0).state, DependencyState::kUnknown);
    EXPECT_EQ(store_->statuses({"a-2"})->at(0).state, DependencyState::kCompleted);
}

TEST_F(RetentionTest, DeadLettersOfPurgedTicketsGoWithThem) {
    open(after_an_hour());
    add("p", {"dead-1"}, false);
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(1));
    Settlement settlement = ending(engine.records[0], Outcome::kInvalid);
    settlement.kind = SettlementKind::kDeadLetter;
    settlement.dead_letter = {"worker_crashed", "TimeoutError", "why", "EXECUTE"};
    CommitBatch batch;
    batch.settlements.push_back(std::make_shared<Settlement>(settlement));
    engine.commit(std::move(batch));
    clock_.advance(std::chrono::hours(2));
    EXPECT_EQ(purge().tickets, 1);
    EXPECT_EQ(store_->dead_letters(0, 10)->total, 0);
}

TEST_F(RetentionTest, NumbersAreNotReusedAfterAPurge) {
    open(after_an_hour());
    add("p", {"a-1"});
    const Offset before = store_->ticket("a-1")->summary.queue_seq;
    clock_.advance(std::chrono::hours(2));
    EXPECT_EQ(purge().tickets, 1);
    store_->close(StopKind::kDrained);
    open(after_an_hour());
    add("q", {"b-1"});
    EXPECT_GT(store_->ticket("b-1")->summary.queue_seq, before);
}

}  // namespace
}  // namespace wa::testing
