// Files that are not what they should be: refused in words, and left as they are. Where a flipped bit cannot be seen at
// the door, reading says so: wrong data is never handed out.
#include <algorithm>
#include <map>

#include "adapters/embedded_store/sqlite.h"
#include "adapters/embedded_store/testing/fixture.h"

namespace wa::testing {
namespace {

using Files = std::map<std::string, std::string>;

class DamageTest : public StoreTest {
protected:
    [[nodiscard]] std::filesystem::path db() const { return options().path; }
    [[nodiscard]] std::filesystem::path wal() const { return db().string() + "-wal"; }

    // A store with tickets in every phase; returns what reading them must say.
    std::map<std::string, std::string> fill(int plans) {
        std::map<std::string, std::string> expected;
        Engine engine(*store_);
        engine.start();
        for (int plan = 0; plan < plans; ++plan) {
            std::vector<NewTicket> tickets;
            for (int n = 0; n < 8; ++n)
                tickets.push_back(make_ticket(uuid4(random_), "task-" + std::to_string(n)));
            EXPECT_TRUE(submit(make_request(tickets, "plan-" + std::to_string(plan))));
            EXPECT_TRUE(engine.wait_records(static_cast<std::size_t>(plan + 1) * 8));
            CommitBatch batch;
            const auto* first = &engine.records[static_cast<std::size_t>(plan) * 8];
            for (int n = 0; n < 6; ++n) {
                const bool good = n % 2 == 0;
                batch.settlements.push_back(std::make_shared<Settlement>(
                    ending(first[n], good ? Outcome::kCompleted : Outcome::kTimeout, good ? "" : "too slow")));
            }
            EXPECT_EQ(engine.commit(std::move(batch)).status, CommitStatus::kCommitted);
        }
        TicketQuery all;
        all.limit = 1000;
        const auto page = store_->tickets(all);
        for (const auto& ticket : page->tickets)
            expected[ticket.ticket_id] = describe(ticket.ticket_id).value();
        return expected;
    }

    [[nodiscard]] Result<std::string> describe(const std::string& id) const {
        WA_TRY(const TicketDetail detail, store_->ticket(id));
        WA_TRY(const std::vector<AttemptRecord> attempts, store_->attempts(id));
        std::string text = detail.summary.payload + "|" + std::string(to_string(detail.summary.phase)) + "|" +
                           detail.result_json + "|" + detail.error + "|" + detail.summary.plan_id + "|" +
                           detail.summary.task_id;
        for (const auto& attempt : attempts)
            text += "|" + std::to_string(attempt.number) + attempt.outcome;
        return text;
    }

    [[nodiscard]] Files files() const {
        Files out;
        for (const char* suffix : {"", "-wal"}) {
            const std::string path = db().string() + suffix;
            if (std::filesystem::exists(path)) out[path] = read_file(path);
        }
        return out;
    }
    void restore(const Files& files) const {
        for (const char* suffix : {"", "-wal", "-shm", "-lock", "-reserve"}) {
            std::filesystem::remove(db().string() + suffix);
        }
        for (const auto& [path, bytes] : files)
            write_file(path, bytes);
    }

    Error refused() {
        store_.reset();
        const Files before = files();
        auto opened = EmbeddedStore::open(options(), clock_, random_);
        if (opened) {
            ADD_FAILURE() << "the file was accepted";
            return {};
        }
        EXPECT_TRUE(files() == before) << "a refused file was written: " << opened.error().describe();
        EXPECT_FALSE(opened.error().describe().empty());
        return opened.error();
    }

    // Opens a damaged store: refused and untouched, or every ticket reads as it was, or says that it is damaged.
    // Returns how many tickets are missing.
    std::size_t refused_or_true(const std::map<std::string, std::string>& expected) {
        const Files before = files();
        auto opened = EmbeddedStore::open(options(), clock_, random_);
        if (!opened) {
            const ErrorCode code = opened.error().code;
            EXPECT_TRUE(code == ErrorCode::kCorrupt || code == ErrorCode::kUnsupported) << opened.error().describe();
            EXPECT_TRUE(files() == before) << "a refused file was written";
            return 0;
        }
        store_ = std::move(*opened);
        std::size_t missing = 0;
        for (const auto& [id, text] : expected) {
            const auto found = describe(id);
            if (found) {
                EXPECT_EQ(*found, text);
            } else if (found.error().code == ErrorCode::kNotFound) {
                ++missing;
            } else {
                EXPECT_EQ(found.error().code, ErrorCode::kCorrupt) << found.error().describe();
            }
        }
        store_.reset();
        return missing;
    }
};

TEST_F(DamageTest, FilesOfOthersAreRefused) {
    for (const std::string& bytes : {std::string("not a database at all"), std::string(100'000, 'x'),
                                     std::string(100'000, '\0'), std::string("x"), std::string()}) {
        write_file(db(), bytes);
        EXPECT_EQ(refused().code, ErrorCode::kCorrupt);
    }
    std::filesystem::remove(db());
    std::filesystem::create_directory(db());
    EXPECT_FALSE(EmbeddedStore::open(options(), clock_, random_));
    std::filesystem::remove(db());
    {
        auto other = sqlite::Db::open(db(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
        ASSERT_TRUE(other);
        ASSERT_TRUE(other->exec("PRAGMA journal_mode=WAL; PRAGMA user_version=1; CREATE TABLE tickets(x)"));
    }
    const Error error = refused();
    EXPECT_EQ(error.code, ErrorCode::kUnsupported);
    EXPECT_NE(error.message.find("another program"), std::string::npos);
}

TEST_F(DamageTest, ANewerVersionIsRefused) {
    open();
    fill(1);
    store_->close(StopKind::kDrained);
    {
        auto raw = sqlite::Db::open(db(), SQLITE_OPEN_READWRITE);
        ASSERT_TRUE(raw);
        ASSERT_TRUE(raw->exec("PRAGMA user_version=99"));
    }
    const Error error = refused();
    EXPECT_EQ(error.code, ErrorCode::kUnsupported);
    EXPECT_NE(error.message.find("version 99"), std::string::npos);
    EXPECT_FALSE(error.fix.empty());
}

TEST_F(DamageTest, ANewerVersionThatStandsOnlyInTheLogIsRefused) {
    open();
    fill(1);
    store_->close(StopKind::kDrained);
    Files crashed;
    {
        auto raw = sqlite::Db::open(db(), SQLITE_OPEN_READWRITE);
        ASSERT_TRUE(raw);
        ASSERT_TRUE(raw->exec("PRAGMA user_version=99"));
        crashed = files();
    }
    restore(crashed);
    EXPECT_EQ(refused().code, ErrorCode::kUnsupported);
}

TEST_F(DamageTest, ACutFileIsRefused) {
    open();
    fill(6);
    store_->close(StopKind::kDrained);
    store_.reset();
    const Files whole = files();
    const std::string bytes = whole.at(db().string());
    for (std::size_t length = 0; length < bytes.size(); length += 1 + bytes.size() / 97) {
        restore({{db().string(), bytes.substr(0, length)}});
        EXPECT_EQ(refused().code, ErrorCode::kCorrupt) << length;
    }
    restore(whole);
    open();
    EXPECT_EQ(store_->tickets({})->total, 48);
}

TEST_F(DamageTest, FlippedBytesAreRefusedOrHarmless) {
    open();
    const auto expected = fill(6);
    store_->close(StopKind::kDrained);
    store_.reset();
    const Files whole = files();
    const std::string bytes = whole.at(db().string());
    SeededRandom positions(5);
    for (int round = 0; round < 400; ++round) {
        std::string damaged = bytes;
        const std::size_t at = round < 100 ? static_cast<std::size_t>(round) : positions.below(bytes.size());
        damaged[at] = static_cast<char>(damaged[at] ^ (1 << positions.below(8)));
        restore({{db().string(), damaged}});
        const std::size_t missing = refused_or_true(expected);
        EXPECT_EQ(missing, 0U) << "byte " << at;
        if (HasFailure()) FAIL() << "byte " << at;
    }
}

TEST_F(DamageTest, OverwrittenStretchesAreRefusedOrHarmless) {
    open();
    const auto expected = fill(6);
    store_->close(StopKind::kDrained);
    store_.reset();
    const std::string bytes = read_file(db());
    SeededRandom positions(6);
    for (int round = 0; round < 150; ++round) {
        std::string damaged = bytes;
        const std::size_t at = positions.below(bytes.size());
        const std::size_t length = std::min<std::size_t>(1 + positions.below(9000), bytes.size() - at);
        for (std::size_t n = at; n < at + length; ++n)
            damaged[n] = static_cast<char>(round % 2 == 0 ? 0U : positions.below(256));
        restore({{db().string(), damaged}});
        EXPECT_EQ(refused_or_true(expected), 0U) << at << " +" << length;
        if (HasFailure()) FAIL() << at << " +" << length;
    }
}

// A copy of the files as a killed process leaves them: most of the data is in the log alone.
TEST_F(DamageTest, ADamagedLogIsRefusedUnlessOnlyItsLastWriteIsTorn) {
    open();
    const auto expected = fill(6);
    const Files crashed = files();
    store_->close(StopKind::kUnclean);
    store_.reset();
    ASSERT_TRUE(crashed.contains(wal().string()));
    const std::string log = crashed.at(wal().string());
    ASSERT_GT(log.size(), 100'000U);
    restore(crashed);
    EXPECT_EQ(refused_or_true(expected), 0U);

    constexpr std::size_t kFrame = 4096 + 24;
    const std::size_t frames = (log.size() - 32) / kFrame;
    SeededRandom positions(8);
    int refusals = 0;
    for (int round = 0; round < 120; ++round) {
        std::string damaged = log;
        const std::size_t at = positions.below(log.size());
        damaged[at] = static_cast<char>(damaged[at] ^ (1 << positions.below(8)));
        Files with = crashed;
        with[wal().string()] = damaged;
        restore(with);
        auto opened = EmbeddedStore::open(options(), clock_, random_);
        if (!opened) {
            ++refusals;
            EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
            EXPECT_TRUE(files() == with) << "a refused file was written";
            continue;
        }
        store_ = std::move(*opened);
        std::size_t changed = 0;
        for (const auto& [id, text] : expected) {
            const auto found = describe(id);
            if (!found || *found != text) ++changed;
        }
        store_.reset();
        // Only the last transaction may be gone, and only when its own frames were hit: it ended six tickets.
        EXPECT_LE(changed, 6U) << "byte " << at << " of " << log.size();
        if (changed > 0) EXPECT_GT((at - 32) / kFrame + 40, frames) << "byte " << at;
        if (HasFailure()) FAIL() << "byte " << at;
    }
    EXPECT_GT(refusals, 60);

    // Cut anywhere, as by a power cut: what was whole before is there.
    for (std::size_t keep : {log.size() - 1, log.size() - kFrame, log.size() - kFrame / 2}) {
        Files with = crashed;
        with[wal().string()] = log.substr(0, keep);
        restore(with);
        open();
        EXPECT_GE(store_->tickets({})->total, 48);
        store_.reset();
    }
}

TEST_F(DamageTest, ALogWithoutItsFileIsNotThrownAway) {
    open();
    fill(2);
    Files crashed = files();
    store_->close(StopKind::kUnclean);
    store_.reset();
    crashed.erase(db().string());
    restore(crashed);
    EXPECT_EQ(refused().code, ErrorCode::kCorrupt);
    EXPECT_FALSE(std::filesystem::exists(db()));
    write_file(db(), "");
    EXPECT_EQ(refused().code, ErrorCode::kCorrupt);
}

TEST_F(DamageTest, AMissingTableOrIndexIsRefused) {
    open();
    fill(1);
    store_->close(StopKind::kDrained);
    store_.reset();
    const Files whole = files();
    for (const char* sql :
         {"DROP TABLE payloads", "DROP INDEX tickets_by_phase", "DROP TABLE meta", "DELETE FROM meta",
          "UPDATE meta SET value='zz' WHERE key='hash_key'", "UPDATE meta SET value=1 WHERE key='next_seq'",
          "ALTER TABLE records RENAME COLUMN body TO text"}) {
        restore(whole);
        {
            auto raw = sqlite::Db::open(db(), SQLITE_OPEN_READWRITE);
            ASSERT_TRUE(raw);
            ASSERT_TRUE(raw->exec(sql)) << sql;
            ASSERT_TRUE(raw->exec("PRAGMA wal_checkpoint(TRUNCATE)"));
        }
        EXPECT_EQ(refused().code, ErrorCode::kCorrupt) << sql;
    }
}

TEST_F(DamageTest, AHalfMadeStoreOfAnEarlierStartIsMadeAnew) {
    write_file(db().string() + ".new", "left over");
    open();
    EXPECT_TRUE(store_->opened().created);
    EXPECT_FALSE(std::filesystem::exists(db().string() + ".new"));
}

}  // namespace
}  // namespace wa::testing
