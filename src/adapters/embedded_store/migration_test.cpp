// Versions: steps run once, in order, after a backup; a step that fails leaves the file as it was.
#include <array>

#include "adapters/embedded_store/store_impl.h"
#include "adapters/embedded_store/testing/fixture.h"

namespace wa::testing {
namespace {

using store::Migration;

class MigrationTest : public StoreTest {
protected:
    // Opens with other steps than the released ones and closes again.
    Result<OpenReport> open_with(std::span<const Migration> steps) {
        WA_TRY(const std::shared_ptr<EmbeddedStore::Impl> impl, store::open_store(options(), clock_, random_, steps));
        OpenReport report = impl->report;
        impl->copier->stop();
        impl->reader->stop();
        impl->pool.close();
        impl->writer->stop(StopKind::kDrained);
        return report;
    }
    [[nodiscard]] std::int64_t scalar(const std::filesystem::path& path, const char* sql) const {
        auto db = sqlite::Db::open(path, SQLITE_OPEN_READONLY);
        EXPECT_TRUE(db);
        const auto value = db->scalar(sql);
        EXPECT_TRUE(value) << sql << ": " << value.error().describe();
        return value.value_or(-1);
    }
    [[nodiscard]] static Migration first() { return store::migrations().front(); }
};

TEST_F(MigrationTest, TheReleasedStepsRiseByOne) {
    std::int32_t expected = 1;
    for (const auto& step : store::migrations())
        EXPECT_EQ(step.version, expected++);
}

TEST_F(MigrationTest, AnOldStoreIsBackedUpAndMovedUp) {
    open();
    ASSERT_TRUE(submit(make_request({make_ticket("kept")})));
    store_->close(StopKind::kDrained);
    store_.reset();
    const std::array steps{first(), Migration{2, "CREATE TABLE added(x); INSERT INTO added VALUES(1)"},
                           Migration{3, "INSERT INTO added VALUES(2); ALTER TABLE plans ADD COLUMN note TEXT"}};
    const auto report = open_with(steps);
    ASSERT_TRUE(report) << report.error().describe();
    EXPECT_EQ(report->migrated_from, 1);
    EXPECT_EQ(scalar(options().path, "PRAGMA user_version"), 3);
    EXPECT_EQ(scalar(options().path, "SELECT count(*) FROM added"), 2);
    EXPECT_EQ(scalar(options().path, "SELECT count(*) FROM tickets"), 1);
    ASSERT_EQ(report->migration_backup, options().path.string() + ".v1.bak");
    EXPECT_EQ(scalar(report->migration_backup, "PRAGMA user_version"), 1);
    EXPECT_EQ(scalar(report->migration_backup, "SELECT count(*) FROM tickets"), 1);
    const auto again = open_with(steps);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->migrated_from, 0);
    EXPECT_EQ(scalar(options().path, "SELECT count(*) FROM added"), 2);
    // The build before it does not touch what it does not know.
    auto older = EmbeddedStore::open(options(), clock_, random_);
    ASSERT_FALSE(older);
    EXPECT_EQ(older.error().code, ErrorCode::kUnsupported);
}

TEST_F(MigrationTest, AStepThatFailsLeavesTheOldVersionWhole) {
    open();
    ASSERT_TRUE(submit(make_request({make_ticket("kept")})));
    store_->close(StopKind::kDrained);
    store_.reset();
    const std::array steps{first(), Migration{2, "CREATE TABLE added(x)"},
                           Migration{3, "INSERT INTO nowhere VALUES(1)"}};
    const auto report = open_with(steps);
    ASSERT_FALSE(report);
    EXPECT_NE(report.error().describe().find("migration"), std::string::npos) << report.error().describe();
    EXPECT_EQ(scalar(options().path, "PRAGMA user_version"), 1);
    EXPECT_EQ(scalar(options().path, "SELECT count(*) FROM sqlite_schema WHERE name='added'"), 0);
    open();
    EXPECT_TRUE(store_->ticket("kept"));
}

TEST_F(MigrationTest, ANewStoreStartsAtTheNewestVersion) {
    const std::array steps{first(), Migration{2, "CREATE TABLE added(x)"}};
    const auto report = open_with(steps);
    ASSERT_TRUE(report) << report.error().describe();
    EXPECT_TRUE(report->created);
    EXPECT_EQ(report->migrated_from, 0);
    EXPECT_EQ(scalar(options().path, "PRAGMA user_version"), 2);
}

}  // namespace
}  // namespace wa::testing
