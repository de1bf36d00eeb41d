// Every write and every sync fails once; and the power goes at any moment. What was answered is there afterwards, what
// was not is there whole or not at all, and the store works on without a restart.
#include <algorithm>
#include <map>
#include <thread>

#include "adapters/embedded_store/testing/fault_vfs.h"
#include "adapters/embedded_store/testing/fixture.h"

namespace wa::testing {
namespace {

using Fault = FaultVfs::Fault;

struct Known {
    std::map<std::string, std::size_t> plans;  // that were answered: plan -> tickets
    std::map<std::string, std::size_t> tried;  // that were asked for
    std::map<std::string, StoredPhase> ended;  // ticket -> phase
};

class FaultsTest : public StoreTest {
protected:
    [[nodiscard]] StoreOptions quick() const {
        StoreOptions out = options();
        out.limits.probe_every = std::chrono::milliseconds(2);
        out.limits.reserve_bytes = 4096;
        return out;
    }
    void try_submit(Known& known, const std::string& plan, std::size_t count) {
        std::vector<NewTicket> tickets;
        for (std::size_t n = 0; n < count; ++n)
            tickets.push_back(make_ticket(plan + "-" + std::to_string(n), "task", std::string(3000, 'x')));
        known.tried[plan] = count;
        const auto answer = submit(make_request(std::move(tickets), plan));
        if (answer) {
            known.plans[plan] = count;
        } else {
            const ErrorCode code = answer.error().code;
            EXPECT_TRUE(code == ErrorCode::kDiskFull || code == ErrorCode::kUnavailable) << answer.error().describe();
        }
    }
    // Hands the batch over until it is committed, as the engine does; the disk is well again after some tries.
    void settle(Engine& engine, CommitBatch batch, FaultVfs& disk, Known& known) {
        batch.number = ++engine.number;
        for (int n = 0; n < 200; ++n) {
            const CommitResult done = engine.commit(batch);
            if (done.status == CommitStatus::kCommitted) {
                for (const auto& settlement : batch.settlements) {
                    known.ended[settlement->ticket_id] =
                        is_success(settlement->outcome) ? StoredPhase::kCompleted : StoredPhase::kFailed;
                }
                return;
            }
            EXPECT_EQ(done.status, CommitStatus::kRetry);
            EXPECT_TRUE(done.error);
            if (n == 3) disk.disarm();
        }
        FAIL() << "never committed";
    }
    void check(const Known& known) {
        for (const auto& [plan, count] : known.tried) {
            const auto found = store_->plan(plan);
            if (known.plans.contains(plan)) {
                ASSERT_TRUE(found) << plan << ": " << found.error().describe();
            } else if (!found) {
                EXPECT_EQ(found.error().code, ErrorCode::kNotFound);
                continue;
            }
            EXPECT_EQ(found->total, static_cast<std::int64_t>(count)) << plan;
            for (std::size_t n = 0; n < count; ++n) {
                const auto ticket = store_->ticket(plan + "-" + std::to_string(n));
                ASSERT_TRUE(ticket) << ticket.error().describe();
                EXPECT_EQ(ticket->summary.payload.size(), 3000U);
            }
        }
        for (const auto& [id, phase] : known.ended) {
            const auto ticket = store_->ticket(id);
            ASSERT_TRUE(ticket) << ticket.error().describe();
            EXPECT_EQ(ticket->summary.phase, phase) << id;
            EXPECT_EQ(store_->history(id)->back().kind, "ended");
        }
        PhaseCounts seen;
        TicketQuery query;
        query.limit = 1000;
        for (std::size_t found = query.limit; found == query.limit; query.offset += query.limit) {
            const auto page = store_->tickets(query);
            ASSERT_TRUE(page) << page.error().describe();
            for (const auto& ticket : page->tickets)
                ++seen[ticket.phase];
            found = page->tickets.size();
        }
        EXPECT_EQ(store_->counts().value(), seen);
    }
    bool works_again() {
        for (int n = 0; n < 400; ++n) {
            if (submit(make_request({make_ticket("again-" + std::to_string(n))}, ""))) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(3));
        }
        return false;
    }
    // One life of a store with one fault in it. Returns how often the fault struck.
    int live_through(Fault fault, int after, bool lasting) {
        TempFolder folder;
        FaultVfs disk;
        StoreOptions with = quick();
        with.path = folder.path() / "worker.db";
        open(with);
        Known known;
        try_submit(known, "before", 5);
        disk.arm(fault, after, lasting);
        try_submit(known, "first", 3);
        try_submit(known, "second", 1);
        {
            Engine engine(*store_);
            engine.start();
            EXPECT_TRUE(engine.wait_records(5));
            CommitBatch intents;
            intents.intents.push_back(intent(engine.records[4], 1));
            settle(engine, std::move(intents), disk, known);
            CommitBatch batch;
            batch.settlements.push_back(std::make_shared<Settlement>(ending(engine.records[0])));
            batch.settlements.push_back(
                std::make_shared<Settlement>(ending(engine.records[1], Outcome::kTimeout, "late")));
            settle(engine, std::move(batch), disk, known);
        }
        try_submit(known, "third", 2);
        const int hits = disk.hits();
        disk.disarm();
        EXPECT_TRUE(works_again());
        EXPECT_TRUE(store_->health().ok) << store_->health().error;
        check(known);
        store_->close(StopKind::kUnclean);
        open(with);
        check(known);
        store_.reset();
        return hits;
    }
};

TEST_F(FaultsTest, EveryWriteAndSyncMayFail) {
#ifdef WA_SANITIZED
    constexpr int kStep = 7;
#else
    constexpr int kStep = 2;
#endif
    for (const Fault fault : {Fault::kFull, Fault::kWriteError, Fault::kSyncError}) {
        for (const bool lasting : {false, true}) {
            int after = 0;
            for (; after < 400; after += fault == Fault::kSyncError ? 1 : kStep) {
                const int hits = live_through(fault, after, lasting);
                if (HasFailure())
                    FAIL() << "fault " << static_cast<int>(fault) << " after " << after << " lasting " << lasting;
                if (hits == 0) break;  // it came after all that there was to write
            }
            EXPECT_GT(after, 2);
        }
    }
}

TEST_F(FaultsTest, ThePowerMayGoAtAnyMoment) {
#ifdef WA_SANITIZED
    constexpr int kCuts = 20;
#else
    constexpr int kCuts = 60;
#endif
    SeededRandom chance(99);
    for (int life = 0; life < 3; ++life) {
        TempFolder folder;
        FaultVfs disk;
        StoreOptions with = quick();
        with.path = folder.path() / "worker.db";
        open(with);  // made before the disk is followed: creation is a rename of a synced file
        store_->close(StopKind::kDrained);
        disk.follow(true);
        open(with);
        std::mutex mutex;
        Known known;
        std::atomic<bool> stop = false;
        std::thread load([&] {
            Engine engine(*store_);
            engine.start();
            std::size_t done = 0;
            for (int plan = 0; !stop; ++plan) {
                const std::string name = "plan-" + std::to_string(plan);
                std::vector<NewTicket> tickets;
                for (int n = 0; n < 4; ++n)
                    tickets.push_back(make_ticket(name + "-" + std::to_string(n), "task", std::string(3000, 'x')));
                {
                    const std::lock_guard lock(mutex);
                    known.tried[name] = 4;
                }
                const bool ok = submit(make_request(std::move(tickets), name)).has_value();
                EXPECT_TRUE(ok);
                {
                    const std::lock_guard lock(mutex);
                    known.plans[name] = 4;
                }
                EXPECT_TRUE(engine.wait_records(static_cast<std::size_t>(plan + 1) * 4));
                CommitBatch batch;
                for (; done + 2 < engine.records.size(); ++done)
                    batch.settlements.push_back(std::make_shared<Settlement>(ending(engine.records[done])));
                const auto ended = batch.settlements;
                EXPECT_EQ(engine.commit(std::move(batch)).status, CommitStatus::kCommitted);
                const std::lock_guard lock(mutex);
                for (const auto& settlement : ended)
                    known.ended[settlement->ticket_id] = StoredPhase::kCompleted;
            }
        });
        std::vector<std::pair<Known, std::map<std::string, std::string>>> cuts;
        for (int cut = 0; cut < kCuts / 3; ++cut) {
            std::this_thread::sleep_for(std::chrono::microseconds(chance.below(25'000)));
            Known then;
            {
                const std::lock_guard lock(mutex);
                then = known;
            }
            cuts.emplace_back(std::move(then), disk.cut(chance));  // the answers first: they must be in it
        }
        stop = true;
        load.join();
        store_.reset();
        disk.follow(false);
        for (auto& [then, image] : cuts) {
            TempFolder after;
            StoreOptions there = quick();
            there.path = after.path() / "worker.db";
            for (const auto& [name, bytes] : image)
                write_file(after.path() / std::filesystem::path(name).filename(), bytes);
            open(there);
            if (HasFatalFailure()) return;
            // What was tried and not answered by then may be there; what came later cannot be known here.
            check(then);
            if (HasFailure()) FAIL() << "life " << life;
            store_.reset();
        }
    }
}

}  // namespace
}  // namespace wa::testing
