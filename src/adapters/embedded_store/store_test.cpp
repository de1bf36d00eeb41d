// What the store promises to those who submit, ask, retry and settle.
#include "adapters/embedded_store/store.h"

#include <algorithm>
#include <set>

#include "adapters/embedded_store/testing/fixture.h"

namespace wa::testing {
namespace {

class EmbeddedStoreTest : public StoreTest {
protected:
    void SetUp() override { open(); }
    // Submits, runs the port side and ends the tickets as told.
    void end(const std::vector<std::pair<std::string, Outcome>>& endings, const std::string& error = "exit code 1") {
        Engine engine(*store_);
        engine.start();
        ASSERT_TRUE(engine.wait_records(endings.size()));
        CommitBatch batch;
        for (const auto& [id, outcome] : endings) {
            const auto record = std::find_if(engine.records.begin(), engine.records.end(),
                                             [&, want = id](const Record& entry) { return entry.key == want; });
            ASSERT_NE(record, engine.records.end()) << id;
            batch.settlements.push_back(
                std::make_shared<Settlement>(ending(*record, outcome, is_success(outcome) ? "" : error)));
        }
        EXPECT_EQ(engine.commit(std::move(batch)).status, CommitStatus::kCommitted);
    }
};

TEST_F(EmbeddedStoreTest, ASubmittedTicketIsThereWithAllItsParts) {
    NewTicket ticket = make_ticket("3f9a01c2-6a0e-4a5b-9d7e-0b9d5a1c2f10", "build");
    ticket.task_type = TaskType::kBuild;
    ticket.priority = Priority::kCritical;
    ticket.dependencies = {"a", "b"};
    ticket.correlation_id = "corr";
    ticket.created_at = 1'700'000'000'000;
    SubmitRequest request = make_request({ticket}, "plan-7");
    request.intent_id = "intent";
    request.actor = "cli";
    const auto answer = submit(request);
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->plan_id, "plan-7");
    ASSERT_EQ(answer->tickets.size(), 1U);
    EXPECT_EQ(answer->tickets[0].disposition, Disposition::kCreated);

    const auto detail = store_->ticket(ticket.ticket_id);
    ASSERT_TRUE(detail) << detail.error().describe();
    EXPECT_EQ(detail->summary.payload, ticket.payload);
    EXPECT_EQ(detail->summary.task_id, "build");
    EXPECT_EQ(detail->summary.task_type, TaskType::kBuild);
    EXPECT_EQ(detail->summary.priority, Priority::kCritical);
    EXPECT_EQ(detail->summary.plan_id, "plan-7");
    EXPECT_EQ(detail->summary.plan_name, "name of plan-7");
    EXPECT_EQ(detail->summary.created_at, 1'700'000'000'000);
    EXPECT_GT(detail->summary.submitted_at, 1'700'000'000'000);
    EXPECT_EQ(detail->summary.status(), TicketStatus::kPending);
    EXPECT_EQ(detail->intent_id, "intent");
    EXPECT_EQ(detail->correlation_id, "corr");
    EXPECT_EQ(detail->submitted_by, "cli");
    EXPECT_EQ(detail->dependencies, ticket.dependencies);
    EXPECT_TRUE(detail->result_json.empty());
    EXPECT_EQ(store_->unfinished().value(), 1);
}

TEST_F(EmbeddedStoreTest, ARepeatedSubmitFollowsTheRules) {
    ASSERT_TRUE(submit(make_request({make_ticket("one-1"), make_ticket("two-2")})));
    // Not ended and identical: its record.
    auto again = submit(make_request({make_ticket("one-1")}));
    ASSERT_TRUE(again);
    EXPECT_EQ(again->tickets[0].disposition, Disposition::kSame);
    // Known and different: nothing of the whole request happens.
    auto other = submit(make_request({make_ticket("new-3"), make_ticket("one-1", "task", "{\"different\":1}")}));
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, ErrorCode::kConflict);
    EXPECT_EQ(other.error().field, "one-1");
    EXPECT_EQ(store_->ticket("new-3").error().code, ErrorCode::kNotFound);

    end({{"one-1", Outcome::kCompleted}, {"two-2", Outcome::kExecutionFailed}});
    again = submit(make_request({make_ticket("one-1")}));
    ASSERT_TRUE(again);
    EXPECT_EQ(again->tickets[0].disposition, Disposition::kSame);
    EXPECT_EQ(again->tickets[0].phase, StoredPhase::kCompleted);
    // Failed before: a newer record of the same id runs again.
    again = submit(make_request({make_ticket("two-2")}));
    ASSERT_TRUE(again);
    EXPECT_EQ(again->tickets[0].disposition, Disposition::kRequeued);
    EXPECT_EQ(store_->ticket("two-2")->summary.phase, StoredPhase::kPending);
    EXPECT_EQ(store_->ticket("two-2")->summary.submissions, 2);
    EXPECT_EQ(submit(make_request({make_ticket("one-1", "task", "{}")})).error().code, ErrorCode::kConflict);
}

TEST_F(EmbeddedStoreTest, IdentityDecidesWhereItIsGiven) {
    NewTicket ticket = make_ticket("one-1", "task", R"({"created_at":1})");
    ticket.identity = "digest-a";
    ASSERT_TRUE(submit(make_request({ticket})));
    ticket.payload = R"({"created_at":2})";
    EXPECT_EQ(submit(make_request({ticket}))->tickets[0].disposition, Disposition::kSame);
    ticket.identity = "digest-b";
    EXPECT_EQ(submit(make_request({ticket})).error().code, ErrorCode::kConflict);
}

TEST_F(EmbeddedStoreTest, BadRequestsAreRefusedWhole) {
    EXPECT_EQ(submit(make_request({})).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(submit(make_request({make_ticket("a"), make_ticket("a")})).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(submit(make_request({make_ticket("")})).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(submit(make_request({make_ticket(std::string(256, 'x'))})).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(submit(make_request({make_ticket(std::string("a\0b", 3))})).error().code, ErrorCode::kInvalidArgument);
    const std::string large(store_->limits().payload_bytes + 1, 'x');
    EXPECT_EQ(submit(make_request({make_ticket("big", "t", large)})).error().code, ErrorCode::kLimitExceeded);
    EXPECT_EQ(store_->unfinished().value(), 0);
    const std::string fits(store_->limits().payload_bytes, 'x');
    EXPECT_TRUE(submit(make_request({make_ticket("big", "t", fits)})));
    EXPECT_EQ(store_->ticket("big")->summary.payload, fits);
}

TEST_F(EmbeddedStoreTest, AnEndingBringsResultAttemptsHistoryAndLog) {
    ASSERT_TRUE(submit(make_request({make_ticket("good-1"), make_ticket("bad-2")})));
    end({{"good-1", Outcome::kCompleted}, {"bad-2", Outcome::kExecutionFailed}});

    const auto good = store_->ticket("good-1");
    ASSERT_TRUE(good) << good.error().describe();
    EXPECT_EQ(good->summary.phase, StoredPhase::kCompleted);
    EXPECT_EQ(good->summary.outcome, "completed");
    EXPECT_EQ(good->summary.attempts, 1);
    EXPECT_EQ(good->summary.started_at, 1'760'000'000'100);
    EXPECT_EQ(good->summary.ended_at, 1'760'000'000'500);
    EXPECT_EQ(good->summary.actual_duration_ms, 400);
    EXPECT_NE(good->result_json.find("\"success\":true"), std::string::npos);
    const auto bad = store_->ticket("bad-2");
    ASSERT_TRUE(bad);
    EXPECT_EQ(bad->summary.phase, StoredPhase::kFailed);
    EXPECT_EQ(bad->summary.error, "exit code 1");
    EXPECT_EQ(bad->error, "exit code 1");

    const auto attempts = store_->attempts("bad-2");
    ASSERT_TRUE(attempts);
    ASSERT_EQ(attempts->size(), 1U);
    EXPECT_EQ((*attempts)[0].outcome, "failed");
    EXPECT_EQ((*attempts)[0].exit_code, 1);
    const auto history = store_->history("bad-2");
    ASSERT_TRUE(history);
    ASSERT_EQ(history->size(), 3U);
    EXPECT_EQ((*history)[0].kind, "submitted");
    EXPECT_EQ((*history)[0].actor, "api");
    EXPECT_EQ((*history)[1].kind, "moved");
    EXPECT_EQ((*history)[1].reason, "dependencies done");
    EXPECT_EQ((*history)[2].kind, "ended");
    EXPECT_EQ((*history)[2].to, "failed");
    const auto log = store_->log("bad-2");
    ASSERT_TRUE(log);
    EXPECT_EQ(log->attempt, 1);
    EXPECT_EQ(log->lines, (std::vector<std::string>{"first line", "last line"}));
    EXPECT_EQ(store_->log("bad-2", 9).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(store_->counts().value(), (PhaseCounts{{StoredPhase::kCompleted, 1}, {StoredPhase::kFailed, 1}}));
}

TEST_F(EmbeddedStoreTest, OutcomesBecomePhases) {
    const std::vector<std::pair<Outcome, StoredPhase>> expected{
        {Outcome::kCompleted, StoredPhase::kCompleted},
        {Outcome::kExecutionFailed, StoredPhase::kFailed},
        {Outcome::kTimeout, StoredPhase::kFailed},
        {Outcome::kDeadlineExceeded, StoredPhase::kFailed},
        {Outcome::kDependencyFailed, StoredPhase::kDependencyLost},
        {Outcome::kDependencyTimeout, StoredPhase::kDependencyLost},
        {Outcome::kCancelled, StoredPhase::kCancelled},
        {Outcome::kPreempted, StoredPhase::kCancelled}};
    std::vector<NewTicket> tickets;
    std::vector<std::pair<std::string, Outcome>> endings;
    for (std::size_t n = 0; n < expected.size(); ++n) {
        const std::string id = "ticket-" + std::to_string(n);
        tickets.push_back(make_ticket(id));
        endings.emplace_back(id, expected[n].first);
    }
    ASSERT_TRUE(submit(make_request(std::move(tickets))));
    end(endings);
    for (std::size_t n = 0; n < expected.size(); ++n) {
        const auto detail = store_->ticket(endings[n].first);
        ASSERT_TRUE(detail);
        EXPECT_EQ(detail->summary.phase, expected[n].second) << n;
        EXPECT_EQ(detail->summary.outcome, to_string(expected[n].first));
        EXPECT_TRUE(is_ended(detail->summary.phase));
    }
}

TEST_F(EmbeddedStoreTest, OnlyFailedTicketsAreRetriedAndNumbersGoOn) {
    ASSERT_TRUE(submit(make_request({make_ticket("good-1"), make_ticket("bad-2"), make_ticket("open-3")})));
    end({{"good-1", Outcome::kCompleted}, {"bad-2", Outcome::kExecutionFailed}});
    const auto retry = [&](std::vector<std::string> ids) {
        return wait<RetryAnswer>([&](auto answer) { store_->retry(std::move(ids), "cli", answer); });
    };
    EXPECT_EQ(retry({"good-1"}).error().code, ErrorCode::kConflict);
    EXPECT_EQ(retry({"open-3"}).error().code, ErrorCode::kConflict);
    EXPECT_EQ(retry({"nobody"}).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(retry({"bad-2", "good-1"}).error().code, ErrorCode::kConflict);
    EXPECT_EQ(store_->ticket("bad-2")->summary.phase, StoredPhase::kFailed);

    const Offset before = store_->ticket("bad-2")->summary.queue_seq;
    const auto done = retry({"bad-2"});
    ASSERT_TRUE(done) << done.error().describe();
    EXPECT_EQ(done->ticket_ids, (std::vector<std::string>{"bad-2"}));
    const auto detail = store_->ticket("bad-2");
    EXPECT_GT(detail->summary.queue_seq, before);
    EXPECT_EQ(detail->summary.phase, StoredPhase::kPending);
    EXPECT_EQ(detail->summary.attempts, 1);
    EXPECT_EQ(detail->summary.ended_at, 0);
    EXPECT_TRUE(detail->summary.error.empty());

    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(2));
    const Record& record = engine.records.back();
    EXPECT_EQ(record.key, "bad-2");
    EXPECT_EQ(record.attempts_made, 1);
    EXPECT_EQ(record.attempts_burned, 0);
    CommitBatch batch;
    batch.settlements.push_back(std::make_shared<Settlement>(ending(record)));
    engine.commit(std::move(batch));
    const auto attempts = store_->attempts("bad-2");
    ASSERT_EQ(attempts->size(), 2U);
    EXPECT_EQ((*attempts)[0].outcome, "failed");
    EXPECT_EQ((*attempts)[1].number, 2);
    EXPECT_EQ((*attempts)[1].outcome, "completed");
    const auto history = store_->history("bad-2");
    EXPECT_TRUE(std::any_of(history->begin(), history->end(),
                            [](const auto& line) { return line.kind == "retried" && line.actor == "cli"; }));
    EXPECT_EQ(store_->log("bad-2", 1)->attempt, 1);
    EXPECT_EQ(store_->log("bad-2")->attempt, 2);
}

TEST_F(EmbeddedStoreTest, APlanRetryTakesWhatFellWithIt) {
    ASSERT_TRUE(submit(make_request({make_ticket("a-ok"), make_ticket("b-bad"), make_ticket("c-dep"),
                                     make_ticket("d-cancel"), make_ticket("e-open")})));
    end({{"a-ok", Outcome::kCompleted},
         {"b-bad", Outcome::kExecutionFailed},
         {"c-dep", Outcome::kDependencyFailed},
         {"d-cancel", Outcome::kCancelled}});
    const auto retry = [&](PlanRetry only, std::string plan = "plan-1") {
        return wait<RetryAnswer>([&](auto answer) { store_->retry_plan(std::move(plan), only, "cli", answer); });
    };
    EXPECT_EQ(retry(PlanRetry::kFailed, "no-plan").error().code, ErrorCode::kNotFound);
    auto done = retry(PlanRetry::kFailed);
    ASSERT_TRUE(done);
    EXPECT_EQ(done->ticket_ids, (std::vector<std::string>{"b-bad", "c-dep", "d-cancel"}));
    EXPECT_EQ(store_->plan("plan-1")->counts, (PhaseCounts{{StoredPhase::kPending, 4}, {StoredPhase::kCompleted, 1}}));
    EXPECT_TRUE(retry(PlanRetry::kFailed)->ticket_ids.empty());
    done = retry(PlanRetry::kAll);
    ASSERT_TRUE(done);
    EXPECT_EQ(done->ticket_ids, (std::vector<std::string>{"a-ok"}));
}

TEST_F(EmbeddedStoreTest, StatusFromOutside) {
    ASSERT_TRUE(submit(make_request({make_ticket("one-1"), make_ticket("two-2"), make_ticket("three-3")})));
    const auto patch = [&](std::string id, TicketStatus status, std::optional<std::string> error = std::nullopt) {
        return wait<TicketSummary>([&](auto answer) {
            store_->patch_status(StatusPatch{std::move(id), status, std::move(error), 12, "scheduler"}, answer);
        });
    };
    EXPECT_EQ(patch("nobody", TicketStatus::kCompleted).error().code, ErrorCode::kNotFound);
    auto done = patch("one-1", TicketStatus::kRunning);
    ASSERT_TRUE(done);
    EXPECT_EQ(done->phase, StoredPhase::kExternal);
    EXPECT_EQ(done->status(), TicketStatus::kRunning);
    done = patch("one-1", TicketStatus::kFailed, "broken outside");
    ASSERT_TRUE(done);
    EXPECT_EQ(done->phase, StoredPhase::kFailed);
    EXPECT_EQ(done->error, "broken outside");
    EXPECT_EQ(store_->ticket("one-1")->error, "broken outside");
    EXPECT_EQ(store_->ticket("one-1")->summary.actual_duration_ms, 12);
    // Back to the queue.
    done = patch("one-1", TicketStatus::kPending);
    ASSERT_TRUE(done);
    EXPECT_EQ(done->phase, StoredPhase::kPending);
    // COMPLETED is the last word.
    ASSERT_TRUE(patch("two-2", TicketStatus::kCompleted));
    EXPECT_EQ(patch("two-2", TicketStatus::kFailed).error().code, ErrorCode::kConflict);
    EXPECT_EQ(patch("two-2", TicketStatus::kPending).error().code, ErrorCode::kConflict);
    EXPECT_EQ(patch("two-2", TicketStatus::kCompensated)->phase, StoredPhase::kCompensated);
    // Ours while it runs.
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(2));
    CommitBatch batch;
    batch.intents.push_back(intent(engine.records[0], 1));
    engine.commit(std::move(batch));
    EXPECT_EQ(patch(engine.records[0].key, TicketStatus::kCompleted).error().code, ErrorCode::kConflict);
    const auto history = store_->history("two-2");
    EXPECT_EQ(std::count_if(history->begin(), history->end(),
                            [](const auto& line) { return line.kind == "patched" && line.actor == "scheduler"; }),
              2);
}

TEST_F(EmbeddedStoreTest, IdsResolveByTheirBeginning) {
    ASSERT_TRUE(submit(make_request({make_ticket("3f9a01c2-6a0e-4a5b-9d7e-0b9d5a1c2f10"),
                                     make_ticket("3f9a01c2-7a0e-4a5b-9d7e-0b9d5a1c2f10"),
                                     make_ticket("77b1d0e4-6a0e-4a5b-9d7e-0b9d5a1c2f10"), make_ticket("build-1"),
                                     make_ticket("build-22"), make_ticket("77b1-odd")})));
    EXPECT_EQ(store_->resolve("77b1d").value(), "77b1d0e4-6a0e-4a5b-9d7e-0b9d5a1c2f10");
    EXPECT_EQ(store_->resolve("3f9a01c2-7").value(), "3f9a01c2-7a0e-4a5b-9d7e-0b9d5a1c2f10");
    EXPECT_EQ(store_->resolve("build-2").value(), "build-22");
    EXPECT_EQ(store_->resolve("build-1").value(), "build-1");
    EXPECT_EQ(store_->resolve("3f9a").error().code, ErrorCode::kConflict);
    EXPECT_EQ(store_->resolve("77b1").error().code, ErrorCode::kConflict);
    EXPECT_EQ(store_->resolve("build").error().code, ErrorCode::kConflict);
    EXPECT_EQ(store_->resolve("3f9").error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(store_->resolve("").error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(store_->resolve("ffff").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(store_->resolve("nobody knows this").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(store_->resolve("@latest").value(), "77b1-odd");
    EXPECT_EQ(store_->resolve("@failed").error().code, ErrorCode::kNotFound);
    end({{"build-1", Outcome::kTimeout}, {"build-22", Outcome::kCompleted}});
    EXPECT_EQ(store_->resolve("@failed").value(), "build-1");
}

TEST_F(EmbeddedStoreTest, ListsFilterAndPage) {
    for (int plan = 0; plan < 3; ++plan) {
        std::vector<NewTicket> tickets;
        for (int n = 0; n < 10; ++n) {
            tickets.push_back(
                make_ticket("p" + std::to_string(plan) + "-t" + std::to_string(n), n % 2 == 0 ? "Even" : "odd"));
            tickets.back().task_type = n % 5 == 0 ? TaskType::kBuild : TaskType::kTest;
        }
        ASSERT_TRUE(submit(make_request(std::move(tickets), "plan-" + std::to_string(plan))));
    }
    end({{"p0-t0", Outcome::kCompleted},
         {"p0-t1", Outcome::kExecutionFailed},
         {"p1-t1", Outcome::kCancelled},
         {"p2-t5", Outcome::kCompleted}});
    const auto list = [&](const TicketQuery& query) {
        auto page = store_->tickets(query);
        EXPECT_TRUE(page) << page.error().describe();
        return page ? *page : TicketPage{};
    };
    TicketQuery query;
    auto page = list(query);
    EXPECT_EQ(page.total, 30);
    ASSERT_EQ(page.tickets.size(), 30U);
    EXPECT_EQ(page.tickets.front().ticket_id, "p2-t9");
    EXPECT_EQ(page.tickets.back().ticket_id, "p0-t0");
    query.offset = 28;
    page = list(query);
    EXPECT_EQ(page.tickets.size(), 2U);
    EXPECT_EQ(page.total, 30);
    query.offset = 30;
    EXPECT_TRUE(list(query).tickets.empty());

    query = {};
    query.plan_id = "plan-1";
    query.limit = 3;
    query.offset = 1;
    page = list(query);
    EXPECT_EQ(page.total, 10);
    ASSERT_EQ(page.tickets.size(), 3U);
    EXPECT_EQ(page.tickets[0].ticket_id, "p1-t8");
    query.plan_id = "nothing";
    EXPECT_EQ(list(query).total, 0);

    query = {};
    query.status = TicketStatus::kFailed;
    page = list(query);
    EXPECT_EQ(page.total, 2);
    ASSERT_EQ(page.tickets.size(), 2U);
    EXPECT_EQ(page.tickets[0].ticket_id, "p1-t1");
    query.phase = StoredPhase::kFailed;
    EXPECT_EQ(list(query).total, 1);
    query.status = TicketStatus::kCompleted;
    EXPECT_EQ(list(query).total, 0);

    query = {};
    query.status = TicketStatus::kPending;
    query.plan_id = "plan-0";
    page = list(query);
    EXPECT_EQ(page.total, 8);
    EXPECT_EQ(page.tickets.size(), 8U);

    query = {};
    query.task_type = TaskType::kBuild;
    query.limit = 2;
    query.offset = 4;
    page = list(query);
    EXPECT_EQ(page.total, 6);
    EXPECT_EQ(page.tickets.size(), 2U);
    EXPECT_EQ(page.tickets[1].ticket_id, "p0-t0");

    query = {};
    query.text = "eVEN";
    EXPECT_EQ(list(query).total, 15);
    query.text = "NAME OF plan-2";
    EXPECT_EQ(list(query).total, 10);
    query.status = TicketStatus::kCompleted;
    EXPECT_EQ(list(query).total, 1);
    query = {};
    query.with_payload = true;
    query.limit = 1;
    EXPECT_EQ(list(query).tickets[0].payload, make_ticket("p2-t9", "odd").payload);
    EXPECT_TRUE(list({}).tickets[0].payload.empty());

    query.limit = 0;
    EXPECT_EQ(store_->tickets(query).error().code, ErrorCode::kInvalidArgument);
    query.limit = 1001;
    EXPECT_EQ(store_->tickets(query).error().code, ErrorCode::kInvalidArgument);
    query.limit = 1;
    query.offset = SIZE_MAX;
    EXPECT_TRUE(store_->tickets(query)->tickets.empty());
    query.text = "x";
    EXPECT_TRUE(store_->tickets(query)->tickets.empty());
}

TEST_F(EmbeddedStoreTest, AFilteredListingLooksAtABoundedNumberOfRows) {
    StoreOptions few = options();
    few.limits.scan_rows = 5;
    open(few);
    std::vector<NewTicket> tickets;
    for (int n = 0; n < 10; ++n)
        tickets.push_back(make_ticket("t-" + std::to_string(n)));
    ASSERT_TRUE(submit(make_request(std::move(tickets))));
    TicketQuery query;
    query.text = "t-";
    const auto page = store_->tickets(query);
    ASSERT_TRUE(page);
    EXPECT_FALSE(page->complete);
    EXPECT_EQ(page->total, 5);
}

TEST_F(EmbeddedStoreTest, PlansAndTheirGraphs) {
    NewTicket second = make_ticket("b");
    second.dependencies = {"a", "elsewhere"};
    ASSERT_TRUE(submit(make_request({make_ticket("a"), second}, "plan-1")));
    ASSERT_TRUE(submit(make_request({make_ticket("c")}, "plan-2")));
    ASSERT_TRUE(submit(make_request({make_ticket("loose")}, "")));
    end({{"a", Outcome::kCompleted}});
    const auto plans = store_->plans(0, 10);
    ASSERT_TRUE(plans);
    EXPECT_EQ(plans->total, 2);
    ASSERT_EQ(plans->plans.size(), 2U);
    EXPECT_EQ(plans->plans[0].plan_id, "plan-2");
    EXPECT_EQ(store_->plans(1, 1)->plans[0].plan_id, "plan-1");
    const auto plan = store_->plan("plan-1");
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->total, 2);
    EXPECT_EQ(plan->open(), 1);
    EXPECT_EQ(plan->counts, (PhaseCounts{{StoredPhase::kPending, 1}, {StoredPhase::kCompleted, 1}}));
    EXPECT_EQ(store_->plan("").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(store_->plan("none").error().code, ErrorCode::kNotFound);
    const auto graph = store_->plan_graph("plan-1");
    ASSERT_TRUE(graph);
    ASSERT_EQ(graph->nodes.size(), 2U);
    EXPECT_TRUE(graph->complete);
    EXPECT_EQ(graph->nodes[0].ticket.phase, StoredPhase::kCompleted);
    EXPECT_EQ(graph->nodes[1].dependencies, second.dependencies);
    EXPECT_FALSE(store_->plan_graph("plan-1", 1)->complete);
    EXPECT_EQ(store_->open_tickets("plan-1").value(), (std::vector<std::string>{"b"}));
    EXPECT_TRUE(store_->ticket("loose")->summary.plan_id.empty());
}

TEST_F(EmbeddedStoreTest, DeadLettersAreListedReplayedAndDiscarded) {
    ASSERT_TRUE(submit(make_request({make_ticket("dead-1"), make_ticket("dead-2")})));
    const auto kill = [&](std::size_t expected) {
        Engine engine(*store_);
        engine.start();
        ASSERT_TRUE(engine.wait_records(expected));
        CommitBatch batch;
        for (const auto& record : engine.records) {
            Settlement settlement = ending(record, Outcome::kInvalid);
            settlement.kind = SettlementKind::kDeadLetter;
            settlement.dead_letter = {"worker_crashed", "TimeoutError", "killed three workers", "EXECUTE"};
            batch.settlements.push_back(std::make_shared<Settlement>(std::move(settlement)));
        }
        EXPECT_EQ(engine.commit(std::move(batch)).status, CommitStatus::kCommitted);
    };
    kill(2);
    auto page = store_->dead_letters(0, 10);
    ASSERT_TRUE(page) << page.error().describe();
    EXPECT_EQ(page->total, 2);
    ASSERT_EQ(page->letters.size(), 2U);
    const std::int64_t key = page->letters[1].key;
    const auto letter = store_->dead_letter(key);
    ASSERT_TRUE(letter);
    EXPECT_EQ(letter->ticket_id, "dead-1");
    EXPECT_EQ(letter->reason, "worker_crashed");
    EXPECT_EQ(letter->plan_id, "plan-1");
    EXPECT_EQ(letter->payload, make_ticket("dead-1").payload);
    EXPECT_EQ(store_->ticket("dead-1")->summary.phase, StoredPhase::kDeadLettered);
    EXPECT_EQ(store_->ticket("dead-1")->summary.error, "killed three workers");

    const auto replay = [&](std::int64_t which) {
        return wait<SubmittedTicket>([&](auto answer) { store_->replay_dead_letter(which, "cli", answer); });
    };
    EXPECT_EQ(replay(999).error().code, ErrorCode::kNotFound);
    const auto replayed = replay(key);
    ASSERT_TRUE(replayed) << replayed.error().describe();
    EXPECT_EQ(replayed->ticket_id, "dead-1");
    EXPECT_EQ(store_->dead_letters(0, 10)->total, 1);
    EXPECT_EQ(replay(key).error().code, ErrorCode::kNotFound);
    kill(1);  // it dies again: the same key, one more replay
    EXPECT_EQ(store_->dead_letter(key)->replays, 1);

    const auto other = page->letters[0].key;
    const auto gone = wait<void>([&](auto answer) { store_->discard_dead_letter(other, "not wanted", "cli", answer); });
    ASSERT_TRUE(gone) << gone.error().describe();
    EXPECT_EQ(store_->dead_letters(0, 10)->total, 1);
    EXPECT_EQ(store_->ticket("dead-2")->summary.phase, StoredPhase::kFailed);
    const auto history = store_->history("dead-2");
    EXPECT_EQ(history->back().kind, "discarded");
    EXPECT_EQ(history->back().reason, "not wanted");
    EXPECT_EQ(history->back().actor, "cli");
}

TEST_F(EmbeddedStoreTest, CompensationOverTheApiLinksBothTickets) {
    ASSERT_TRUE(submit(make_request({make_ticket("orig-1"), make_ticket("orig-2")})));
    SubmitRequest undo = make_request({make_ticket("undo-1")});
    undo.compensates = "orig-1";
    EXPECT_EQ(submit(undo).error().code, ErrorCode::kConflict);
    undo.compensates = "nobody";
    EXPECT_EQ(submit(undo).error().code, ErrorCode::kNotFound);
    end({{"orig-1", Outcome::kExecutionFailed}});
    undo.compensates = "orig-1";
    ASSERT_TRUE(submit(undo));
    const auto detail = store_->ticket("orig-1");
    EXPECT_EQ(detail->summary.status(), TicketStatus::kCompensating);
    EXPECT_EQ(detail->compensation_ticket_id, "undo-1");
    EXPECT_EQ(store_->ticket("undo-1")->summary.phase, StoredPhase::kPending);
}

TEST_F(EmbeddedStoreTest, KnownEndingsAnswerForDependencies) {
    ASSERT_TRUE(submit(make_request({make_ticket("ok"), make_ticket("bad"), make_ticket("open")})));
    end({{"ok", Outcome::kCompleted}, {"bad", Outcome::kExecutionFailed}}, "exit code 3");
    const auto found = store_->statuses({"bad", "open", "ok", "nobody"});
    ASSERT_TRUE(found);
    ASSERT_EQ(found->size(), 4U);
    EXPECT_EQ((*found)[0].state, DependencyState::kFailed);
    EXPECT_TRUE((*found)[0].last_word);
    EXPECT_EQ((*found)[0].detail, "FAILED: exit code 3");
    EXPECT_EQ((*found)[1].state, DependencyState::kOpen);
    EXPECT_FALSE((*found)[1].last_word);
    EXPECT_EQ((*found)[2].state, DependencyState::kCompleted);
    EXPECT_EQ((*found)[3].state, DependencyState::kUnknown);
}

TEST_F(EmbeddedStoreTest, EndingsComeInTheOrderOfCommits) {
    ASSERT_TRUE(submit(make_request({make_ticket("t-1"), make_ticket("t-2"), make_ticket("t-3")})));
    end({{"t-2", Outcome::kCompleted}});
    end({{"t-1", Outcome::kExecutionFailed}});
    const auto all = store_->endings_since(0, 10);
    ASSERT_TRUE(all);
    ASSERT_EQ(all->size(), 2U);
    EXPECT_EQ((*all)[0].ticket_id, "t-2");
    EXPECT_EQ((*all)[1].ticket_id, "t-1");
    EXPECT_EQ((*all)[1].phase, StoredPhase::kFailed);
    EXPECT_FALSE((*all)[1].result_json.empty());
    const auto later = store_->endings_since((*all)[0].cursor, 10);
    ASSERT_EQ(later->size(), 1U);
    EXPECT_TRUE(store_->endings_since((*all)[1].cursor, 10)->empty());
}

TEST_F(EmbeddedStoreTest, EverythingIsThereAfterAReopen) {
    std::vector<NewTicket> tickets;
    for (int n = 0; n < 50; ++n)
        tickets.push_back(make_ticket("t-" + std::to_string(n)));
    ASSERT_TRUE(submit(make_request(tickets)));
    end({{"t-0", Outcome::kCompleted}, {"t-1", Outcome::kExecutionFailed}});
    const std::string epoch = store_->opened().epoch;
    EXPECT_TRUE(store_->opened().created);
    reopen();
    EXPECT_EQ(store_->opened().epoch, epoch);
    EXPECT_FALSE(store_->opened().created);
    EXPECT_FALSE(store_->opened().unclean);
    EXPECT_TRUE(store_->opened().check_complete);
    EXPECT_EQ(store_->unfinished().value(), 48);
    EXPECT_EQ(store_->ticket("t-1")->error, "exit code 1");
    EXPECT_EQ(store_->tickets({})->total, 50);
    reopen(StopKind::kUnclean);
    EXPECT_TRUE(store_->opened().unclean);
    EXPECT_EQ(store_->opened().interrupted, 0);
}

TEST_F(EmbeddedStoreTest, AClosedStoreRefusesAndAnswers) {
    store_->close(StopKind::kDrained);
    EXPECT_EQ(submit(make_request({make_ticket("late")})).error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(store_->ticket("late").error().code, ErrorCode::kUnavailable);
    EXPECT_TRUE(store_->health().stopped);
}

TEST_F(EmbeddedStoreTest, AStoreInUseIsNotOpenedTwice) {
    SeededRandom random(1);
    const auto second = EmbeddedStore::open(options(), clock_, random);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kConflict);
    EXPECT_TRUE(submit(make_request({make_ticket("still-works")})));
}

}  // namespace
}  // namespace wa::testing
