// Many threads at once (run under the thread sanitizer), bounds of the queue, and large numbers.
#include <algorithm>
#include <set>
#include <thread>

#include "adapters/embedded_store/testing/fixture.h"

namespace wa::testing {
namespace {

class ConcurrencyTest : public StoreTest {};

TEST_F(ConcurrencyTest, WritersReadersEngineAndBackupsTogether) {
    open();
    constexpr int kWriters = 3;
    constexpr int kPlans = 15;
    constexpr int kTickets = 12;
    constexpr std::size_t kAll = std::size_t{kWriters} * kPlans * kTickets;
    std::atomic<bool> stop = false;
    std::atomic<std::size_t> created = 0;
    std::vector<std::thread> threads;
    for (int writer = 0; writer < kWriters; ++writer) {
        threads.emplace_back([&, writer] {
            for (int plan = 0; plan < kPlans; ++plan) {
                const std::string name = "w" + std::to_string(writer) + "-p" + std::to_string(plan);
                std::vector<NewTicket> tickets;
                for (int n = 0; n < kTickets; ++n)
                    tickets.push_back(make_ticket(name + "-t" + std::to_string(n)));
                const auto done = wait<SubmitAnswer>(
                    [&](auto answer) { store_->submit(make_request(std::move(tickets), name), answer); });
                if (done) created += done->tickets.size();
            }
        });
    }
    for (int reader = 0; reader < 4; ++reader) {
        threads.emplace_back([&, reader] {
            for (std::size_t n = 0; !stop; ++n) {
                TicketQuery query;
                query.limit = 20;
                query.offset = n % 50;
                if (n % 3 == 0) query.status = TicketStatus::kCompleted;
                EXPECT_TRUE(store_->tickets(query));
                EXPECT_TRUE(store_->plans(0, 10));
                EXPECT_TRUE(store_->counts());
                (void)store_->health();
                (void)store_->resolve("@latest");
                if (reader == 0) {
                    (void)store_->history("w0-p0-t0");
                    (void)store_->endings_since(0, 100);
                }
            }
        });
    }
    threads.emplace_back([&] {
        for (int n = 0; !stop; ++n) {
            const auto done = wait<BackupAnswer>(
                [&](auto answer) { store_->backup(folder_.path() / ("b" + std::to_string(n)), answer); });
            EXPECT_TRUE(done) << done.error().describe();
        }
    });

    Engine engine(*store_);
    engine.start();
    std::size_t settled = 0;
    while (settled < kAll) {
        ASSERT_TRUE(engine.wait_records(settled + 1)) << settled;
        CommitBatch batch;
        for (; settled < engine.records.size(); ++settled)
            batch.settlements.push_back(std::make_shared<Settlement>(ending(engine.records[settled])));
        ASSERT_EQ(engine.commit(std::move(batch)).status, CommitStatus::kCommitted);
        engine.tickets->lookup({engine.records.back().key});
    }
    stop = true;
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(created, kAll);
    EXPECT_EQ(store_->counts().value(), (PhaseCounts{{StoredPhase::kCompleted, static_cast<std::int64_t>(kAll)}}));
    EXPECT_EQ(store_->unfinished().value(), 0);
    std::set<std::string> seen;
    for (const auto& record : engine.records)
        EXPECT_TRUE(seen.insert(record.key).second) << record.key;
}

TEST_F(ConcurrencyTest, GroupCommitServesManyAtOnce) {
    open();
    constexpr int kSubmits = 400;
    std::atomic<int> answered = 0;
    std::promise<void> all;
    const auto before = store_->health().transactions;
    for (int n = 0; n < kSubmits; ++n) {
        store_->submit(make_request({make_ticket("t-" + std::to_string(n))}), [&](Result<SubmitAnswer> answer) {
            EXPECT_TRUE(answer);
            if (++answered == kSubmits) all.set_value();
        });
    }
    all.get_future().wait();
    EXPECT_LT(store_->health().transactions - before, static_cast<std::uint64_t>(kSubmits) / 2);
    EXPECT_EQ(store_->unfinished().value(), kSubmits);
}

TEST_F(ConcurrencyTest, ARefusedSubmitDoesNotHarmItsNeighbours) {
    open();
    ASSERT_TRUE(submit(make_request({make_ticket("taken")})));
    std::atomic<int> good = 0;
    std::atomic<int> bad = 0;
    std::promise<void> all;
    constexpr int kSubmits = 100;
    for (int n = 0; n < kSubmits; ++n) {
        const bool clash = n % 3 == 0;
        std::vector<NewTicket> tickets{
            make_ticket("fine-" + std::to_string(n)),
            clash ? make_ticket("taken", "t", "{}") : make_ticket("also-" + std::to_string(n))};
        store_->submit(make_request(std::move(tickets)), [&](Result<SubmitAnswer> answer) {
            ++(answer ? good : bad);
            if (good + bad == kSubmits) all.set_value();
        });
    }
    all.get_future().wait();
    EXPECT_EQ(bad, 34);
    EXPECT_EQ(store_->unfinished().value(), 1 + 66 * 2);
}

TEST_F(ConcurrencyTest, TheQueueOfWritesIsBounded) {
    StoreOptions with = options();
    with.limits.queued_operations = 8;
    open(with);
    std::promise<void> gate;
    std::promise<void> held;
    auto opened = gate.get_future().share();
    // The first answer holds the writer until the queue has run over.
    store_->submit(make_request({make_ticket("holds")}), [opened, &held](Result<SubmitAnswer>) {
        held.set_value();
        opened.wait();
    });
    held.get_future().wait();
    std::atomic<int> refused = 0;
    std::atomic<int> taken = 0;
    constexpr int kSubmits = 40;
    for (int n = 0; n < kSubmits; ++n) {
        store_->submit(make_request({make_ticket("t-" + std::to_string(n))}), [&](Result<SubmitAnswer> answer) {
            if (answer) {
                ++taken;
            } else {
                EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
                EXPECT_TRUE(answer.error().retry_after);
                ++refused;
            }
        });
    }
    EXPECT_EQ(refused, kSubmits - 8);
    gate.set_value();
    store_->close(StopKind::kDrained);
    EXPECT_EQ(refused + taken, kSubmits);
}

TEST_F(ConcurrencyTest, ClosingAnswersWhatWasTaken) {
    open();
    std::atomic<int> answered = 0;
    constexpr int kSubmits = 200;
    for (int n = 0; n < kSubmits; ++n) {
        store_->submit(make_request({make_ticket("t-" + std::to_string(n))}),
                       [&](Result<SubmitAnswer>) { ++answered; });
    }
    store_->close(StopKind::kDrained);
    EXPECT_EQ(answered, kSubmits);
    open();
    EXPECT_EQ(store_->unfinished().value(), kSubmits);
}

TEST_F(ConcurrencyTest, ALargeStorePagesQuickly) {
#ifdef WA_SANITIZED
    constexpr int kPlans = 2;
#else
    constexpr int kPlans = 30;
#endif
    open();
    for (int plan = 0; plan < kPlans; ++plan) {
        std::vector<NewTicket> tickets;
        for (int n = 0; n < 1000; ++n)
            tickets.push_back(make_ticket(uuid4(random_), "task-" + std::to_string(n)));
        ASSERT_TRUE(submit(make_request(std::move(tickets), "plan-" + std::to_string(plan))));
    }
    const auto timed = [&](const TicketQuery& query) {
        const auto start = std::chrono::steady_clock::now();
        const auto page = store_->tickets(query);
        EXPECT_TRUE(page);
        EXPECT_EQ(page->tickets.size(), query.limit);
        return std::chrono::steady_clock::now() - start;
    };
    TicketQuery query;
    EXPECT_EQ(store_->tickets(query)->total, kPlans * 1000);
    const auto limit = std::chrono::milliseconds(500);  // generous: other work runs beside the tests
    EXPECT_LT(timed(query), limit);
    query.offset = static_cast<std::size_t>(kPlans) * 1000 - 100;
    EXPECT_LT(timed(query), limit);
    query.status = TicketStatus::kPending;
    EXPECT_LT(timed(query), limit);
    query = {};
    query.plan_id = "plan-0";
    query.offset = 900;
    EXPECT_LT(timed(query), limit);
    const auto graph = store_->plan_graph("plan-1");
    ASSERT_TRUE(graph);
    EXPECT_EQ(graph->nodes.size(), 1000U);
}

}  // namespace
}  // namespace wa::testing
