// Source, sink and ticket service as the engine sees them.
#include "adapters/embedded_store/ports.h"

#include <algorithm>
#include <set>

#include "adapters/embedded_store/testing/fixture.h"

namespace wa::testing {
namespace {

class PortsTest : public StoreTest {
protected:
    void SetUp() override { open(); }
    void submit_many(int count, const std::string& prefix = "t-", const std::string& plan = "plan-1") {
        std::vector<NewTicket> tickets;
        for (int n = 0; n < count; ++n)
            tickets.push_back(make_ticket(prefix + std::to_string(n)));
        const auto answer = submit(make_request(std::move(tickets), plan));
        ASSERT_TRUE(answer) << answer.error().describe();
    }
    static std::vector<std::string> keys(const Engine& engine) {
        std::vector<std::string> out;
        for (const auto& record : engine.records)
            out.push_back(record.key);
        return out;
    }
    static void expect_rising(const Engine& engine) {
        for (std::size_t n = 1; n < engine.records.size(); ++n) {
            EXPECT_LT(engine.records[n - 1].position.offset, engine.records[n].position.offset);
        }
    }
    [[nodiscard]] StoredPhase phase(const std::string& id) const { return store_->ticket(id)->summary.phase; }
};

TEST_F(PortsTest, AnnouncesOnceThenDeliversWhatIsOpenInQueueOrder) {
    submit_many(10);
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(10));
    ASSERT_EQ(engine.assigned.size(), 1U);
    EXPECT_EQ(engine.assigned[0].committed, engine.records[0].position.offset);
    EXPECT_EQ(engine.assigned[0].epoch, engine.records[0].epoch);
    expect_rising(engine);
    EXPECT_EQ(engine.records[0].key, "t-0");
    EXPECT_EQ(engine.records[0].payload, make_ticket("t-0").payload);
    EXPECT_EQ(engine.records[0].origin, engine.records[0].position);
    EXPECT_GT(engine.records[0].timestamp, 0);
    submit_many(5, "new-", "plan-2");
    ASSERT_TRUE(engine.wait_records(15));
    expect_rising(engine);
    EXPECT_EQ(engine.records[14].key, "new-4");
    EXPECT_EQ(engine.assigned.size(), 1U);
    engine.loop.run_for(std::chrono::milliseconds(50));
    EXPECT_EQ(engine.records.size(), 15U);
}

TEST_F(PortsTest, AnnouncesOnAnEmptyStoreToo) {
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.loop.run_until([&] { return !engine.assigned.empty(); }));
    submit_many(1);
    ASSERT_TRUE(engine.wait_records(1));
}

TEST_F(PortsTest, NothingIsDeliveredWhileClosed) {
    submit_many(20);
    Engine engine(*store_);
    engine.on_record = [&](const Record&) {
        if (engine.records.size() == 7) engine.source->set_open(false);
    };
    engine.start();
    ASSERT_TRUE(engine.wait_records(7));
    submit_many(20, "more-", "plan-2");
    engine.loop.run_for(std::chrono::milliseconds(50));
    EXPECT_EQ(engine.records.size(), 7U);
    engine.on_record = nullptr;
    engine.source->set_open(true);
    ASSERT_TRUE(engine.wait_records(40));
    expect_rising(engine);
}

// Whatever the bounds, each open ticket is delivered exactly once and in order, while submits and openings interleave.
TEST_F(PortsTest, EachTicketOnceInOrderWithAnyBufferSizes) {
    SeededRandom random(11);
    for (int round = 0; round < 12; ++round) {
        TempFolder folder;
        StoreOptions with = options();
        with.path = folder.path() / "worker.db";
        open(with);
        EmbeddedSourceLimits limits;
        limits.read_ahead = 1 + random.below(20);
        limits.buffered_records = 1 + random.below(30);
        limits.buffered_bytes = 50 + random.below(4000);
        limits.records_per_turn = 1 + random.below(10);
        Engine engine(*store_, false, limits);
        std::size_t submitted = 0;
        submit_many(static_cast<int>(random.below(30)) + 1, "first-");
        submitted = store_->tickets({})->tickets.size();
        engine.on_record = [&](const Record&) {
            if (random.chance(0.05)) {
                engine.source->set_open(false);
                engine.loop.post()([&] { engine.source->set_open(true); });
            }
        };
        engine.start();
        for (int burst = 0; burst < 15; ++burst) {
            const int count = static_cast<int>(random.below(40)) + 1;
            submit_many(count, "b" + std::to_string(burst) + "-", "plan-" + std::to_string(burst));
            submitted += static_cast<std::size_t>(count);
            if (random.chance(0.5)) engine.loop.run_for(std::chrono::milliseconds(random.below(3)));
        }
        ASSERT_TRUE(engine.wait_records(submitted))
            << "round " << round << ": " << engine.records.size() << " of " << submitted;
        engine.loop.run_for(std::chrono::milliseconds(5));
        EXPECT_EQ(engine.records.size(), submitted);
        expect_rising(engine);
        store_->close(StopKind::kDrained);
    }
}

TEST_F(PortsTest, TheUrgentOvertakeAndTheUnimportantStepBack) {
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.loop.run_until([&] { return !engine.assigned.empty(); }));
    engine.source->set_open(false);
    std::vector<NewTicket> tickets;
    for (const char* id : {"low", "a", "b", "high", "critical"})
        tickets.push_back(make_ticket(id));
    tickets[0].priority = Priority::kLow;
    tickets[3].priority = Priority::kHigh;
    tickets[4].priority = Priority::kCritical;
    ASSERT_TRUE(submit(make_request(std::move(tickets), "plan-1")));
    engine.loop.run_for(std::chrono::milliseconds(50));
    engine.source->set_open(true);
    ASSERT_TRUE(engine.wait_records(5));
    EXPECT_EQ(keys(engine), (std::vector<std::string>{"critical", "high", "a", "b", "low"}));
}

TEST_F(PortsTest, AnUrgentTicketDoesNotWaitUntilALongQueueIsRead) {
    submit_many(60);
    EmbeddedSourceLimits limits;
    limits.read_ahead = 4;
    limits.buffered_records = 8;
    Engine engine(*store_, false, limits);
    engine.start();
    ASSERT_TRUE(engine.loop.run_until([&] { return !engine.assigned.empty(); }));
    engine.source->set_open(false);
    std::vector<NewTicket> tickets{make_ticket("late"), make_ticket("urgent")};
    tickets[1].priority = Priority::kCritical;
    ASSERT_TRUE(submit(make_request(std::move(tickets), "plan-2")));
    engine.loop.run_for(std::chrono::milliseconds(50));
    const std::size_t before = engine.records.size();
    ASSERT_LT(before, 20U);
    engine.source->set_open(true);
    ASSERT_TRUE(engine.wait_records(62));
    engine.loop.run_for(std::chrono::milliseconds(20));
    ASSERT_EQ(engine.records.size(), 62U);
    EXPECT_EQ(engine.records[before].key, "urgent");
    const std::vector<std::string> seen = keys(engine);
    EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), 62U);
    EXPECT_EQ(seen.back(), "late");
}

TEST_F(PortsTest, AnUrgentTicketPassesAQueueThatFillsTheBuffer) {
    EmbeddedSourceLimits limits;
    limits.buffered_records = 8;
    Engine engine(*store_, false, limits);
    engine.start();
    ASSERT_TRUE(engine.loop.run_until([&] { return !engine.assigned.empty(); }));
    engine.source->set_open(false);
    submit_many(60);  // comes fresh, and is more than there is room for
    engine.loop.run_for(std::chrono::milliseconds(50));
    std::vector<NewTicket> tickets{make_ticket("urgent")};
    tickets[0].priority = Priority::kCritical;
    ASSERT_TRUE(submit(make_request(std::move(tickets), "plan-2")));
    engine.loop.run_for(std::chrono::milliseconds(50));
    engine.source->set_open(true);
    ASSERT_TRUE(engine.wait_records(61));
    engine.loop.run_for(std::chrono::milliseconds(20));
    ASSERT_EQ(engine.records.size(), 61U);
    EXPECT_EQ(engine.records[0].key, "urgent");
}

TEST_F(PortsTest, AnIntentIsDurableBeforeItIsAnswered) {
    submit_many(1);
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(1));
    CommitBatch batch;
    batch.intents.push_back(intent(engine.records[0], 1));
    EXPECT_EQ(engine.commit(std::move(batch)).status, CommitStatus::kCommitted);
    const auto detail = store_->ticket("t-0");
    EXPECT_EQ(detail->summary.status(), TicketStatus::kRunning);
    EXPECT_EQ(detail->summary.attempts, 1);
    EXPECT_EQ(detail->summary.started_at, 1'760'000'000'050);
    const auto attempts = store_->attempts("t-0");
    ASSERT_EQ(attempts->size(), 1U);
    EXPECT_EQ((*attempts)[0].outcome, "running");
}

AttemptEnd attempt_end(const Record& record, std::int32_t number, std::string outcome) {
    AttemptEnd end;
    end.position = record.position;
    end.epoch = record.epoch;
    end.ticket_id = record.key;
    end.attempt.number = number;
    end.attempt.started_at = 1'760'000'000'050;
    end.attempt.ended_at = 1'760'000'000'080;
    end.attempt.outcome = std::move(outcome);
    end.attempt.error = "HTTP 503";
    end.attempt.retryable = true;
    return end;
}

TEST_F(PortsTest, AnUncleanStopInterruptsWhatRan) {
    submit_many(3);
    {
        Engine engine(*store_);
        engine.start();
        ASSERT_TRUE(engine.wait_records(3));
        CommitBatch batch;
        batch.intents.push_back(intent(engine.records[0], 1));
        batch.intents.push_back(intent(engine.records[1], 1));
        engine.commit(std::move(batch));
        CommitBatch again;  // the second one failed once and waits for its next try: nothing of it runs
        again.attempt_ends.push_back(attempt_end(engine.records[1], 1, "failed"));
        engine.commit(std::move(again));
    }
    reopen(StopKind::kUnclean);
    EXPECT_TRUE(store_->opened().unclean);
    EXPECT_EQ(store_->opened().interrupted, 1);
    EXPECT_EQ(phase("t-0"), StoredPhase::kPending);
    const auto history = store_->history("t-0");
    EXPECT_EQ(history->back().kind, "interrupted");
    EXPECT_EQ(store_->attempts("t-0")->at(0).outcome, "interrupted");
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(3));
    EXPECT_EQ(engine.records[0].attempts_made, 1);
    EXPECT_EQ(engine.records[0].attempts_burned, 0);
    EXPECT_EQ(engine.records[0].deliveries, 1);
    EXPECT_EQ(engine.records[1].attempts_made, 1);
    EXPECT_EQ(engine.records[1].attempts_burned, 1);
    EXPECT_EQ(engine.records[1].deliveries, 0);
    EXPECT_EQ(engine.records[2].attempts_made, 0);
}

TEST_F(PortsTest, ACleanStopCountsNothingAgainstTheTicket) {
    submit_many(2);
    {
        Engine engine(*store_);
        engine.start();
        ASSERT_TRUE(engine.wait_records(2));
        CommitBatch batch;
        batch.intents.push_back(intent(engine.records[0], 1));
        batch.intents.push_back(intent(engine.records[1], 1));
        engine.commit(std::move(batch));
        CommitBatch ends;
        ends.attempt_ends.push_back(attempt_end(engine.records[0], 1, "handed_back"));
        engine.commit(std::move(ends));
        EXPECT_EQ(phase("t-0"), StoredPhase::kPending);
    }
    reopen(StopKind::kDrained);  // the other one was detached: it has no end, and yet nobody died of it
    EXPECT_FALSE(store_->opened().unclean);
    EXPECT_EQ(store_->opened().handed_back, 1);
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(2));
    for (const auto& record : engine.records) {
        EXPECT_EQ(record.attempts_made, 1);
        EXPECT_EQ(record.attempts_burned, 0);
        EXPECT_EQ(record.deliveries, 0);
    }
    EXPECT_EQ(store_->attempts("t-1")->at(0).outcome, "handed_back");
}

TEST_F(PortsTest, TheFullAccountOfAnAttemptWinsOverTheShortOne) {
    submit_many(1);
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(1));
    CommitBatch first;
    first.intents.push_back(intent(engine.records[0], 1));
    engine.commit(std::move(first));
    CommitBatch second;  // end of one and start of the next in one batch
    second.attempt_ends.push_back(attempt_end(engine.records[0], 1, "timeout"));
    second.intents.push_back(intent(engine.records[0], 2));
    engine.commit(std::move(second));
    EXPECT_EQ(phase("t-0"), StoredPhase::kRunning);
    EXPECT_EQ(store_->attempts("t-0")->size(), 2U);
    EXPECT_EQ(store_->attempts("t-0")->at(0).outcome, "timeout");
    EXPECT_EQ(store_->attempts("t-0")->at(1).outcome, "running");
    CommitBatch last;
    Settlement settlement = ending(engine.records[0]);
    settlement.attempts[0].number = 2;
    AttemptRecord before = settlement.attempts[0];
    before.number = 1;
    before.outcome = "timeout";
    before.runtime = "docker";
    settlement.attempts.insert(settlement.attempts.begin(), before);
    last.settlements.push_back(std::make_shared<Settlement>(settlement));
    engine.commit(std::move(last));
    const auto attempts = store_->attempts("t-0");
    ASSERT_EQ(attempts->size(), 2U);
    EXPECT_EQ((*attempts)[0].runtime, "docker");
    EXPECT_EQ((*attempts)[1].outcome, "completed");
    EXPECT_EQ(store_->ticket("t-0")->summary.attempts, 2);
}

TEST_F(PortsTest, TheSameBatchAgainChangesNothing) {
    submit_many(4);
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(4));
    CommitBatch batch;
    batch.number = 5;
    batch.intents.push_back(intent(engine.records[2], 1));
    batch.settlements.push_back(std::make_shared<Settlement>(ending(engine.records[0])));
    batch.settlements.push_back(
        std::make_shared<Settlement>(ending(engine.records[1], Outcome::kExecutionFailed, "no")));
    Settlement requeue = ending(engine.records[3]);
    requeue.kind = SettlementKind::kRequeue;
    requeue.requeue_round = 1;
    batch.settlements.push_back(std::make_shared<Settlement>(requeue));
    const CommitResult first = engine.commit(batch);
    ASSERT_EQ(first.status, CommitStatus::kCommitted);
    const auto history = store_->history("t-0")->size();
    const CommitResult second = engine.commit(batch);
    ASSERT_EQ(second.status, CommitStatus::kCommitted);
    EXPECT_EQ(store_->history("t-0")->size(), history);
    EXPECT_EQ(store_->attempts("t-2")->size(), 1U);
    ASSERT_EQ(first.requeued.size(), 1U);
    ASSERT_EQ(second.requeued.size(), 1U);
    EXPECT_EQ(first.requeued[0], second.requeued[0]);
    EXPECT_EQ(store_->endings_since(0, 10)->size(), 2U);
    // One ending: a later, other one does not replace it.
    CommitBatch other;
    other.settlements.push_back(std::make_shared<Settlement>(ending(engine.records[0], Outcome::kCancelled, "late")));
    engine.commit(std::move(other));
    EXPECT_EQ(phase("t-0"), StoredPhase::kCompleted);
}

TEST_F(PortsTest, ARequeuedTicketComesBackAtTheTailAndKnowsWhereItStood) {
    submit_many(3);
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(3));
    CommitBatch batch;
    Settlement requeue = ending(engine.records[0]);
    requeue.kind = SettlementKind::kRequeue;
    requeue.requeue_round = 2;
    requeue.attempts.clear();
    batch.settlements.push_back(std::make_shared<Settlement>(requeue));
    const CommitResult done = engine.commit(std::move(batch));
    ASSERT_EQ(done.requeued.size(), 1U);
    EXPECT_EQ(done.requeued[0].first, engine.records[0].position);
    ASSERT_TRUE(engine.wait_records(4));
    const Record& copy = engine.records[3];
    EXPECT_EQ(copy.key, "t-0");
    EXPECT_EQ(copy.position, done.requeued[0].second);
    EXPECT_EQ(copy.origin, engine.records[0].position);
    EXPECT_EQ(copy.requeue_round, 2U);
    EXPECT_EQ(copy.timestamp, engine.records[0].timestamp);
    CommitBatch last;
    last.settlements.push_back(std::make_shared<Settlement>(ending(copy)));
    engine.commit(std::move(last));
    EXPECT_EQ(phase("t-0"), StoredPhase::kCompleted);
    const auto history = store_->history("t-0");
    EXPECT_TRUE(
        std::any_of(history->begin(), history->end(), [](const auto& line) { return line.kind == "requeued"; }));
}

TEST_F(PortsTest, ASuppressedRepeatIsCompletedOnlyIfItEverWas) {
    submit_many(2);
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(2));
    CommitBatch first;
    first.settlements.push_back(std::make_shared<Settlement>(ending(engine.records[0])));
    engine.commit(std::move(first));
    ASSERT_TRUE(wait<RetryAnswer>([&](auto answer) { store_->retry_plan("plan-1", PlanRetry::kAll, "api", answer); }));
    ASSERT_TRUE(engine.wait_records(3));
    CommitBatch second;
    for (const std::size_t n : {std::size_t{1}, std::size_t{2}}) {
        Settlement suppressed;
        suppressed.kind = SettlementKind::kSuppressed;
        suppressed.position = suppressed.origin = engine.records[n].position;
        suppressed.ticket_id = engine.records[n].key;
        second.settlements.push_back(std::make_shared<Settlement>(suppressed));
    }
    EXPECT_EQ(engine.commit(std::move(second)).status, CommitStatus::kCommitted);
    EXPECT_EQ(phase("t-0"), StoredPhase::kCompleted);
    EXPECT_FALSE(store_->ticket("t-0")->result_json.empty());  // of the time when it ran
    EXPECT_EQ(phase("t-1"), StoredPhase::kFailed);
    EXPECT_FALSE(store_->ticket("t-1")->error.empty());
}

TEST_F(PortsTest, RetriedTicketsAreDeliveredAgain) {
    submit_many(2);
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(2));
    CommitBatch batch;
    batch.settlements.push_back(
        std::make_shared<Settlement>(ending(engine.records[0], Outcome::kExecutionFailed, "no")));
    engine.commit(std::move(batch));
    ASSERT_TRUE(wait<RetryAnswer>([&](auto answer) { store_->retry({"t-0"}, "api", answer); }));
    ASSERT_TRUE(engine.wait_records(3));
    EXPECT_EQ(engine.records[2].key, "t-0");
    EXPECT_EQ(engine.records[2].origin, engine.records[2].position);
    expect_rising(engine);
}

TEST_F(PortsTest, WhatWasEndedFromOutsideIsNotDelivered) {
    submit_many(3);
    Engine engine(*store_);
    engine.source->start();  // announced, read ahead, but closed
    ASSERT_TRUE(engine.loop.run_until([&] { return !engine.assigned.empty(); }));
    const auto patched = wait<TicketSummary>([&](auto answer) {
        store_->patch_status(StatusPatch{"t-1", TicketStatus::kCompleted, std::nullopt, std::nullopt, "api"}, answer);
    });
    ASSERT_TRUE(patched);
    engine.loop.run_for(std::chrono::milliseconds(30));
    engine.source->set_open(true);
    ASSERT_TRUE(engine.wait_records(2));
    engine.loop.run_for(std::chrono::milliseconds(30));
    EXPECT_EQ(keys(engine), (std::vector<std::string>{"t-0", "t-2"}));
}

Ticket compensation_ticket() {
    Ticket ticket;
    ticket.ticket_id = "undo-1";
    ticket.plan_id = "plan-1";
    ticket.task_id = "compensate-t-0";
    ticket.task_type = TaskType::kCompensate;
    return ticket;
}

TEST_F(PortsTest, ACompensationGoesIntoTheSameTransactionOnce) {
    submit_many(1);
    Engine engine(*store_, true);
    engine.start();
    ASSERT_TRUE(engine.wait_records(1));
    CommitBatch batch;
    batch.number = 9;
    Settlement settlement = ending(engine.records[0], Outcome::kExecutionFailed, "no");
    settlement.compensation = compensation_ticket();
    batch.settlements.push_back(std::make_shared<Settlement>(settlement));
    engine.commit(batch);
    engine.commit(batch);
    EXPECT_EQ(phase("t-0"), StoredPhase::kCompensating);
    EXPECT_EQ(store_->ticket("t-0")->compensation_ticket_id, "undo-1");
    ASSERT_TRUE(engine.wait_records(2));
    EXPECT_EQ(engine.records[1].key, "undo-1");
    EXPECT_EQ(store_->plan("plan-1")->total, 2);
    // The engine says so when the compensation has succeeded.
    engine.tickets->update_status({"t-0", TicketStatus::kCompensated, "", 0});
    engine.tickets->update_status({"undo-1", TicketStatus::kRunning, "", 0});
    for (int n = 0; n < 1000 && phase("t-0") != StoredPhase::kCompensated; ++n)
        engine.loop.run_for(std::chrono::milliseconds(5));
    EXPECT_EQ(phase("t-0"), StoredPhase::kCompensated);
    EXPECT_EQ(phase("undo-1"), StoredPhase::kPending);
}

TEST_F(PortsTest, ACompensationThatIsNotServedIsOnlyNoted) {
    submit_many(1);
    Engine engine(*store_, false);
    engine.start();
    ASSERT_TRUE(engine.wait_records(1));
    CommitBatch batch;
    Settlement settlement = ending(engine.records[0], Outcome::kExecutionFailed, "no");
    settlement.compensation = compensation_ticket();
    batch.settlements.push_back(std::make_shared<Settlement>(settlement));
    engine.commit(std::move(batch));
    EXPECT_EQ(phase("t-0"), StoredPhase::kFailed);
    EXPECT_EQ(store_->ticket("undo-1").error().code, ErrorCode::kNotFound);
    const auto history = store_->history("t-0");
    EXPECT_EQ(history->back().kind, "compensation");
    EXPECT_NE(history->back().reason.find("not done"), std::string::npos);
}

TEST_F(PortsTest, LookUpsAnswerOnTheLoop) {
    submit_many(2);
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(2));
    CommitBatch batch;
    batch.settlements.push_back(std::make_shared<Settlement>(ending(engine.records[0])));
    engine.commit(std::move(batch));
    engine.tickets->lookup({"t-0", "t-1", "nobody"});
    ASSERT_TRUE(engine.loop.run_until([&] { return !engine.statuses.empty(); }));
    ASSERT_EQ(engine.statuses[0].statuses.size(), 3U);
    EXPECT_EQ(engine.statuses[0].statuses[0].state, DependencyState::kCompleted);
    EXPECT_EQ(engine.statuses[0].statuses[1].state, DependencyState::kOpen);
    EXPECT_EQ(engine.statuses[0].statuses[2].state, DependencyState::kUnknown);
}

TEST_F(PortsTest, AResultOverTheLimitShrinksAndSaysSo) {
    StoreOptions small = options();
    small.limits.result_bytes = 2000;
    open(small);
    submit_many(1);
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(1));
    CommitBatch batch;
    const auto settled = std::make_shared<Settlement>(ending(engine.records[0]));
    batch.settlements.push_back(settled);
    settled->result.logs.assign(500, "a line of output");
    EXPECT_EQ(engine.commit(std::move(batch)).status, CommitStatus::kCommitted);
    const auto detail = store_->ticket("t-0");
    EXPECT_LE(detail->result_json.size(), 2000U);
    EXPECT_EQ(detail->summary.phase, StoredPhase::kCompleted);
}

TEST_F(PortsTest, PortsMayGoBeforeTheirAnswersCome) {
    submit_many(200);
    Loop loop;
    auto engine = std::make_unique<Engine>(*store_);
    engine->start();
    ASSERT_TRUE(engine->wait_records(200));
    CommitBatch batch;
    batch.number = 1;
    for (const auto& record : engine->records)
        batch.settlements.push_back(std::make_shared<Settlement>(ending(record)));
    // Answers are posted to a loop that lives on, into ports that do not.
    EmbeddedSinkOptions sink_options;
    sink_options.encode_result = [](const ExecutionResult&) { return std::string("{}"); };
    sink_options.encode_ticket = [](const Ticket&) { return std::string("{}"); };
    auto sink = std::make_unique<EmbeddedSink>(*store_, loop.post(), [](SinkInput) { FAIL(); }, sink_options);
    sink->commit(batch);
    sink.reset();
    auto tickets = std::make_unique<EmbeddedTicketService>(*store_, loop.post(), [](DependencyStatuses) { FAIL(); });
    tickets->lookup({"t-0"});
    tickets.reset();
    auto source = std::make_unique<EmbeddedSource>(*store_, loop.post(), [](SourceInput) { FAIL(); });
    source->start();
    source->set_open(true);
    source.reset();
    loop.run_for(std::chrono::milliseconds(100));
    engine.reset();
    EXPECT_EQ(phase("t-0"), StoredPhase::kCompleted);
}

}  // namespace
}  // namespace wa::testing
