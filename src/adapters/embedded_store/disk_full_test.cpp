// A full disk: submits are refused, endings still fit, nothing stored is lost, and all is well again without a restart.
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <thread>

#include "adapters/embedded_store/testing/fixture.h"

namespace wa::testing {
namespace {

class DiskFullTest : public StoreTest {
protected:
    [[nodiscard]] StoreOptions quick(StoreOptions from) const {
        from.limits.probe_every = std::chrono::milliseconds(20);
        return from;
    }
    // Submits until one is refused; returns how many were taken.
    int fill(const std::string& prefix, int most = 20'000) {
        for (int n = 0; n < most; ++n) {
            const std::string id = prefix + std::to_string(n);
            const auto answer = submit(make_request({make_ticket(id, "task", std::string(8000, 'x') + id)}));
            if (answer) continue;
            EXPECT_EQ(answer.error().code, ErrorCode::kDiskFull) << answer.error().describe();
            EXPECT_FALSE(answer.error().describe().empty());
            EXPECT_FALSE(answer.error().fix.empty());
            return n;
        }
        ADD_FAILURE() << "the disk never became full";
        return most;
    }
    bool accepts_again(const std::string& id) {
        for (int n = 0; n < 200; ++n) {
            if (submit(make_request({make_ticket(id)}))) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        return false;
    }
    void check_kept(const std::string& prefix, int count) {
        for (int n = 0; n < count; ++n) {
            const std::string id = prefix + std::to_string(n);
            const auto found = store_->ticket(id);
            ASSERT_TRUE(found) << found.error().describe();
            EXPECT_EQ(found->summary.payload, std::string(8000, 'x') + id);
        }
    }
};

TEST_F(DiskFullTest, TheSizeLimitRefusesSubmitsButNotEndings) {
    StoreOptions with = quick(options());
    with.limits.file_bytes = 600'000;
    with.retention.keep_ended = std::chrono::milliseconds(1);
    open(with);
    const int taken = fill("t-");
    EXPECT_GT(taken, 10);
    EXPECT_TRUE(store_->health().disk_full);
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(static_cast<std::size_t>(taken)));
    CommitBatch batch;
    for (const auto& record : engine.records)
        batch.settlements.push_back(std::make_shared<Settlement>(ending(record)));
    EXPECT_EQ(engine.commit(std::move(batch)).status, CommitStatus::kCommitted);
    check_kept("t-", taken);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const auto purged = wait<PurgeAnswer>([&](auto answer) { store_->purge(answer); });
    ASSERT_TRUE(purged) << purged.error().describe();
    EXPECT_EQ(purged->tickets, taken);
    EXPECT_TRUE(accepts_again("after"));
    EXPECT_FALSE(store_->health().disk_full);
}

// The system's own limit on file sizes stands in for a disk: writes fail in the middle of a transaction.
TEST_F(DiskFullTest, AWriteThatFailsInTheMiddleLosesNothing) {
    struct rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = ::signal(SIGXFSZ, SIG_IGN);
    open(quick(options()));
    ASSERT_TRUE(submit(make_request({make_ticket("first", "task", "payload")})));
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(1));
    const auto wal = options().path.string() + "-wal";
    struct rlimit limited = before;
    limited.rlim_cur = std::filesystem::file_size(wal) + 300'000;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);
    const int taken = fill("t-");
    const StoreHealth sick = store_->health();
    CommitBatch batch;
    batch.number = 77;
    const auto settled = std::make_shared<Settlement>(ending(engine.records[0]));
    batch.settlements.push_back(settled);
    settled->result.error_message = std::string(400'000, 'e');
    const CommitResult refused = engine.commit(batch);
    const auto during = store_->ticket("first");
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    ::signal(SIGXFSZ, handler);

    EXPECT_TRUE(sick.disk_full);
    EXPECT_FALSE(sick.ok);
    EXPECT_EQ(refused.status, CommitStatus::kRetry);
    ASSERT_TRUE(refused.error);
    EXPECT_EQ(refused.error->code, ErrorCode::kDiskFull);
    ASSERT_TRUE(during);
    EXPECT_EQ(during->summary.phase, StoredPhase::kPending);
    // The same batch again, now that there is room.
    EXPECT_EQ(engine.commit(batch).status, CommitStatus::kCommitted);
    EXPECT_EQ(store_->ticket("first")->summary.phase, StoredPhase::kCompleted);
    EXPECT_TRUE(accepts_again("after"));
    EXPECT_FALSE(store_->health().disk_full);
    EXPECT_TRUE(store_->health().ok);
    check_kept("t-", taken);
    reopen(StopKind::kUnclean);
    check_kept("t-", taken);
    EXPECT_EQ(store_->counts().value().at(StoredPhase::kPending), taken + 1);
}

class SmallDisk : public DiskFullTest {
protected:
    void SetUp() override {
        mount_ = folder_.path() / "small";
        std::filesystem::create_directory(mount_);
        if (::mount("none", mount_.c_str(), "tmpfs", 0, "size=6m") != 0) {
            mount_.clear();
            GTEST_SKIP() << "this machine does not let the tests mount a file system";
        }
    }
    void TearDown() override {
        store_.reset();
        if (!mount_.empty()) ::umount2(mount_.c_str(), MNT_DETACH);
    }
    [[nodiscard]] StoreOptions small() const {
        StoreOptions out = quick(options());
        out.path = mount_ / "worker.db";
        out.limits.reserve_bytes = 1024 * 1024;
        return out;
    }
    // Takes whatever is left of the disk.
    void stuff(const char* name) const {
        std::ofstream out(mount_ / name, std::ios::binary);
        const std::string block(4096, 'z');
        while (out.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
        }
    }
    std::filesystem::path mount_;
};

TEST_F(SmallDisk, EndingsFitIntoTheReserveAndAllHealsByItself) {
    open(small());
    const int taken = fill("t-");
    ASSERT_GT(taken, 50);
    stuff("filler");
    EXPECT_TRUE(store_->health().disk_full);
    EXPECT_FALSE(submit(make_request({make_ticket("refused")})));
    EXPECT_EQ(store_->ticket("refused").error().code, ErrorCode::kNotFound);
    // Every ticket that was taken can end, one small commit after the other.
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(static_cast<std::size_t>(taken)));
    for (int n = 0; n < taken; n += 10) {
        CommitBatch batch;
        for (int k = n; k < std::min(n + 10, taken); ++k)
            batch.settlements.push_back(
                std::make_shared<Settlement>(ending(engine.records[static_cast<std::size_t>(k)])));
        const CommitResult done = engine.commit(std::move(batch));
        ASSERT_EQ(done.status, CommitStatus::kCommitted) << n << " of " << taken << ": " << done.error->describe();
    }
    EXPECT_TRUE(store_->health().disk_full);
    ASSERT_EQ(::mount("none", mount_.c_str(), "tmpfs", MS_REMOUNT, "size=16m"), 0);
    EXPECT_TRUE(accepts_again("after"));
    EXPECT_TRUE(store_->health().reserve_whole);
    EXPECT_FALSE(store_->health().disk_full);
    check_kept("t-", taken);
    store_->close(StopKind::kUnclean);
    open(small());
    check_kept("t-", taken);
    EXPECT_EQ(store_->counts().value().at(StoredPhase::kCompleted), taken);
}

TEST_F(SmallDisk, WhenEvenTheReserveIsUsedUpEndingsWait) {
    StoreOptions with = small();
    with.limits.reserve_bytes = 16 * 1024;
    open(with);
    const int taken = fill("t-");
    stuff("filler");
    Engine engine(*store_);
    engine.start();
    ASSERT_TRUE(engine.wait_records(static_cast<std::size_t>(taken)));
    CommitBatch batch;
    batch.number = 500;
    for (const auto& record : engine.records) {
        const auto settled = std::make_shared<Settlement>(ending(record));
        batch.settlements.push_back(settled);
        settled->result.error_message = std::string(20'000, 'e');
    }
    const CommitResult refused = engine.commit(batch);
    EXPECT_EQ(refused.status, CommitStatus::kRetry);
    ASSERT_TRUE(refused.error);
    EXPECT_EQ(refused.error->code, ErrorCode::kDiskFull);
    EXPECT_EQ(store_->ticket("t-0")->summary.phase, StoredPhase::kPending);
    ASSERT_EQ(::mount("none", mount_.c_str(), "tmpfs", MS_REMOUNT, "size=64m"), 0);
    EXPECT_EQ(engine.commit(batch).status, CommitStatus::kCommitted);
    EXPECT_TRUE(accepts_again("after"));
    check_kept("t-", taken);
    EXPECT_EQ(store_->counts().value().at(StoredPhase::kCompleted), taken);
}

TEST_F(SmallDisk, AStoreOpensOnAFullDiskAndRefusesSubmits) {
    open(small());
    ASSERT_TRUE(submit(make_request({make_ticket("first")})));
    store_->close(StopKind::kDrained);
    std::filesystem::remove(mount_ / "worker.db-reserve");
    store_.reset();
    {  // room for the log that opening needs, but not for the reserve
        std::ofstream gap(mount_ / "gap", std::ios::binary);
        gap << std::string(400'000, 'g');
    }
    stuff("filler");
    std::filesystem::remove(mount_ / "gap");
    open(small());
    EXPECT_TRUE(store_->health().disk_full);
    EXPECT_FALSE(submit(make_request({make_ticket("second")})));
    EXPECT_TRUE(store_->ticket("first"));
    std::filesystem::remove(mount_ / "filler");
    EXPECT_TRUE(accepts_again("second"));
}

TEST_F(SmallDisk, ANewStoreOnAFullDiskIsRefusedWithoutLeavingsBehind) {
    stuff("filler");
    auto opened = EmbeddedStore::open(small(), clock_, random_);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kDiskFull) << opened.error().describe();
    EXPECT_FALSE(std::filesystem::exists(mount_ / "worker.db"));
    std::filesystem::remove(mount_ / "filler");
    open(small());
    EXPECT_TRUE(store_->opened().created);
}

}  // namespace
}  // namespace wa::testing
