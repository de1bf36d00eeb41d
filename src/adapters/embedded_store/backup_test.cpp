// Copies made while the store works: complete, consistent, and known for copies when they are opened.
#include <set>
#include <thread>

#include "adapters/embedded_store/testing/fixture.h"

namespace wa::testing {
namespace {

class BackupTest : public StoreTest {
protected:
    void SetUp() override { open(); }
    [[nodiscard]] std::filesystem::path target() const { return folder_.path() / "copy.db"; }
    Result<BackupAnswer> backup() {
        return wait<BackupAnswer>([&](auto answer) { store_->backup(target(), answer); });
    }
    [[nodiscard]] StoreOptions at_target() const {
        StoreOptions out = options();
        out.path = target();
        return out;
    }
};

TEST_F(BackupTest, ACopyIsWholeAndGetsItsOwnEpoch) {
    ASSERT_TRUE(submit(make_request({make_ticket("running"), make_ticket("waiting")})));
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(2));
    CommitBatch batch;
    batch.intents.push_back(intent(engine.records[0], 1));
    engine.commit(std::move(batch));
    const auto done = backup();
    ASSERT_TRUE(done) << done.error().describe();
    EXPECT_EQ(done->bytes, static_cast<std::int64_t>(std::filesystem::file_size(target())));
    EXPECT_FALSE(std::filesystem::exists(target().string() + ".part"));
    const std::string epoch = store_->opened().epoch;
    EXPECT_EQ(store_->ticket("running")->summary.phase, StoredPhase::kRunning);
    EXPECT_EQ(backup().error().code, ErrorCode::kConflict);
    store_->close(StopKind::kDrained);

    open(at_target());
    EXPECT_TRUE(store_->opened().restored);
    EXPECT_FALSE(store_->opened().unclean);
    EXPECT_NE(store_->opened().epoch, epoch);
    EXPECT_EQ(store_->opened().interrupted, 1);
    EXPECT_EQ(store_->ticket("running")->summary.phase, StoredPhase::kPending);
    EXPECT_EQ(store_->ticket("running")->summary.deliveries, 0);
    EXPECT_EQ(store_->history("running")->back().kind, "interrupted");
    const std::string restored = store_->opened().epoch;
    store_->close(StopKind::kDrained);
    open(at_target());
    EXPECT_FALSE(store_->opened().restored);
    EXPECT_EQ(store_->opened().epoch, restored);
}

TEST_F(BackupTest, ACopyMadeUnderLoadIsOneMoment) {
    std::atomic<bool> stop = false;
    std::atomic<int> written = 0;
    std::thread load([&] {
        for (int plan = 0; !stop; ++plan) {
            std::vector<NewTicket> tickets;
            for (int n = 0; n < 20; ++n) {
                tickets.push_back(
                    make_ticket("p" + std::to_string(plan) + "-" + std::to_string(n), "task", std::string(2000, 'p')));
            }
            const auto done = wait<SubmitAnswer>([&](auto answer) {
                store_->submit(make_request(std::move(tickets), "plan-" + std::to_string(plan)), answer);
            });
            if (!done) break;
            ++written;
        }
    });
    while (written < 20)
        std::this_thread::yield();
    const auto done = backup();
    const int before_close = written;
    stop = true;
    load.join();
    ASSERT_TRUE(done) << done.error().describe();
    EXPECT_GT(before_close, 19);
    store_->close(StopKind::kDrained);
    open(at_target());
    EXPECT_GE(store_->plans(0, 1)->total, 20);
    std::int64_t tickets = 0;
    const auto plans = store_->plans(0, 1000);
    for (const auto& plan : plans->plans) {
        EXPECT_EQ(plan.total, 20) << plan.plan_id;
        tickets += plan.total;
    }
    EXPECT_EQ(store_->unfinished().value(), tickets);
}

TEST_F(BackupTest, ACopyThatCannotBeMadeLeavesNothing) {
    const auto nowhere = folder_.path() / "missing" / "copy.db";
    const auto done = wait<BackupAnswer>([&](auto answer) { store_->backup(nowhere, answer); });
    ASSERT_FALSE(done);
    EXPECT_FALSE(done.error().describe().empty());
    EXPECT_TRUE(backup());
}

TEST_F(BackupTest, ClosingEndsACopyUnderWay) {
    for (int plan = 0; plan < 20; ++plan) {
        ASSERT_TRUE(submit(make_request({make_ticket("t" + std::to_string(plan), "task", std::string(900'000, 'x'))},
                                        "p" + std::to_string(plan))));
    }
    std::promise<bool> answered;
    store_->backup(target(), [&](Result<BackupAnswer> result) { answered.set_value(result.has_value()); });
    store_->close(StopKind::kDrained);
    auto future = answered.get_future();
    if (future.wait_for(std::chrono::milliseconds(0)) == std::future_status::ready && future.get()) {
        EXPECT_TRUE(std::filesystem::exists(target()));
    } else {
        EXPECT_FALSE(std::filesystem::exists(target()));
    }
    EXPECT_FALSE(std::filesystem::exists(target().string() + ".part"));
}

}  // namespace
}  // namespace wa::testing
