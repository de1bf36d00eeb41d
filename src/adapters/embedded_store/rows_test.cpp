#include "adapters/embedded_store/rows.h"

#include <gtest/gtest.h>

#include <set>

#include "base/random.h"

namespace wa::store {
namespace {

TicketRow sample_row() {
    TicketRow row;
    row.seq = 42;
    row.id_key = -17;
    row.plan = 3;
    row.phase = StoredPhase::kFailed;
    row.type = TaskType::kTest;
    row.priority = Priority::kHigh;
    row.outcome = Outcome::kTimeout;
    row.attempts = 4;
    row.ended_attempt = 3;
    row.burned = 2;
    row.deliveries = 1;
    row.submissions = 2;
    row.round = 5;
    row.born = 40;
    row.last_record = 99;
    row.origin = 41;
    row.created_at = 1'760'000'000'001;
    row.submitted_at = 1'760'000'000'002;
    row.started_at = 1'760'000'000'003;
    row.attempt_at = 1'760'000'000'004;
    row.ended_at = 1'760'000'000'005;
    row.duration_ms = 77;
    row.ticket_id = "3f9a01c2-6a0e-4a5b-9d7e-0b9d5a1c2f10";
    row.task_id = "build";
    return row;
}

TEST(Rows, TicketRowSurvives) {
    const TicketRow row = sample_row();
    std::string bytes;
    encode_row(row, bytes);
    const auto back = decode_row(row.seq, row.id_key, row.plan, phase_code(row.phase), bytes);
    ASSERT_TRUE(back) << back.error().describe();
    std::string again;
    encode_row(*back, again);
    EXPECT_EQ(again, bytes);
    EXPECT_EQ(back->ticket_id, row.ticket_id);
    EXPECT_EQ(back->outcome, row.outcome);
    EXPECT_EQ(back->burned, 2);
    EXPECT_EQ(back->ended_attempt, 3);
    EXPECT_EQ(back->duration_ms, 77);
}

TEST(Rows, ARowKeepsItsSizeOverItsLife) {
    TicketRow row = sample_row();
    std::string first;
    encode_row(row, first);
    row.phase = StoredPhase::kPending;
    row.started_at = row.ended_at = row.attempt_at = row.duration_ms = 0;
    row.attempts = 0;
    row.outcome.reset();
    std::string second;
    encode_row(row, second);
    EXPECT_EQ(first.size(), second.size());
}

TEST(Rows, EveryFlippedBitOfARowIsFound) {
    const TicketRow row = sample_row();
    std::string bytes;
    encode_row(row, bytes);
    for (std::size_t n = 0; n < bytes.size() * 8; ++n) {
        std::string damaged = bytes;
        damaged[n / 8] = static_cast<char>(damaged[n / 8] ^ (1 << (n % 8)));
        const auto read = decode_row(row.seq, row.id_key, row.plan, phase_code(row.phase), damaged);
        ASSERT_FALSE(read) << n;
        EXPECT_EQ(read.error().code, ErrorCode::kCorrupt);
    }
    EXPECT_FALSE(decode_row(row.seq + 1, row.id_key, row.plan, phase_code(row.phase), bytes));
    EXPECT_FALSE(decode_row(row.seq, row.id_key + 1, row.plan, phase_code(row.phase), bytes));
    EXPECT_FALSE(decode_row(row.seq, row.id_key, row.plan + 1, phase_code(row.phase), bytes));
    EXPECT_FALSE(decode_row(row.seq, row.id_key, row.plan, phase_code(StoredPhase::kCompleted), bytes));
    EXPECT_FALSE(decode_row(row.seq, row.id_key, row.plan, 77, bytes));
}

HistoryRecord sample_record() {
    HistoryRecord record;
    record.id = 9;
    record.born = 40;
    record.kind = RecordKind::kEnded;
    record.previous = 8;
    record.at = 1'760'000'000'009;
    record.phase = StoredPhase::kFailed;
    record.attempt = 2;
    record.ticket_id = "t";
    record.actor = "engine";
    record.reason = "why";
    record.error = "exit code 1";
    return record;
}

AttemptRecord sample_attempt(std::int32_t number) {
    AttemptRecord attempt;
    attempt.number = number;
    attempt.started_at = 1'760'000'000'000;
    attempt.ended_at = 1'760'000'000'100;
    attempt.queued_ms = 12;
    attempt.outcome = "failed";
    attempt.fault = "task";
    attempt.error = "exit code 1";
    attempt.retryable = true;
    attempt.runtime = "local";
    attempt.exit_code = 1;
    attempt.signal = 9;
    attempt.next_try_at = 1'760'000'001'000;
    return attempt;
}

TEST(Rows, RecordSurvivesWithAttemptsAndHistory) {
    const std::vector<AttemptRecord> attempts{sample_attempt(1), sample_attempt(2)};
    const std::vector<HistoryEntry> history{{5, State::kReceived, State::kReady, 0, "a", "engine"},
                                            {6, State::kReady, State::kQueued, 1, "b", "api"}};
    const HistoryRecord record = sample_record();
    std::string bytes;
    encode_record(record, encode_trail(attempts, history, 65536), "{}", bytes);
    const auto back = decode_record(record.id, record.born, static_cast<std::int64_t>(record.kind), bytes);
    ASSERT_TRUE(back) << back.error().describe();
    EXPECT_EQ(back->previous, 8);
    EXPECT_EQ(back->error, "exit code 1");
    ASSERT_EQ(back->attempts.size(), 2U);
    EXPECT_EQ(back->attempts[1].number, 2);
    EXPECT_EQ(back->attempts[1].signal, 9);
    EXPECT_EQ(back->attempts[1].next_try_at, 1'760'000'001'000);
    ASSERT_EQ(back->history.size(), 2U);
    EXPECT_EQ(back->history[0].actor, "engine");
    EXPECT_EQ(back->history[1].actor, "api");
    EXPECT_EQ(back->history[1].to, State::kQueued);
    EXPECT_TRUE(result_matches(bytes, "{}"));
    EXPECT_FALSE(result_matches(bytes, "{ }"));
}

TEST(Rows, EveryFlippedBitOfARecordIsFound) {
    const HistoryRecord record = sample_record();
    std::string bytes;
    encode_record(record, encode_trail({sample_attempt(1)}, {{5, State::kReceived, State::kReady, 0, "a", "x"}}, 65536),
                  "r", bytes);
    for (std::size_t n = 0; n < bytes.size() * 8; ++n) {
        std::string damaged = bytes;
        damaged[n / 8] = static_cast<char>(damaged[n / 8] ^ (1 << (n % 8)));
        EXPECT_FALSE(decode_record(record.id, record.born, static_cast<std::int64_t>(record.kind), damaged)) << n;
    }
}

TEST(Rows, GarbageNeverReadsAsAValue) {
    SeededRandom random(3);
    for (int round = 0; round < 20000; ++round) {
        std::string bytes(random.below(200), '\0');
        for (auto& byte : bytes)
            byte = static_cast<char>(random.below(256));
        EXPECT_FALSE(decode_row(1, 2, 3, 4, bytes));
        EXPECT_FALSE(decode_head(1, bytes));
        EXPECT_FALSE(decode_record(1, 2, 9, bytes));
    }
}

TEST(Rows, ALongHistoryKeepsItsEndsAndSaysWhatIsMissing) {
    std::vector<HistoryEntry> history;
    for (int n = 0; n < 1000; ++n)
        history.push_back({n, State::kQueued, State::kBackingOff, n, std::string(100, 'r'), "engine"});
    const std::string trail = encode_trail({}, history, 20'000);
    EXPECT_LT(trail.size(), 20'000U);
    std::string bytes;
    encode_record(sample_record(), trail, "", bytes);
    const auto back = decode_record(9, 40, static_cast<std::int64_t>(RecordKind::kEnded), bytes);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->history.front().at, 0);
    EXPECT_EQ(back->history.back().at, 999);
    const auto gap = std::find_if(back->history.begin(), back->history.end(),
                                  [](const auto& entry) { return entry.actor == "store"; });
    ASSERT_NE(gap, back->history.end());
    const std::size_t missing = static_cast<std::size_t>(std::stoi(gap->reason));
    EXPECT_EQ(missing + back->history.size() - 1, 1000U);
}

TEST(Rows, IdsThatBeginAlikeStandTogether) {
    const HashKey key{1, 2};
    SeededRandom random(4);
    for (int round = 0; round < 500; ++round) {
        const std::string id = uuid4(random);
        const IdKey at = id_key(key, id);
        EXPECT_FALSE(at.odd);
        for (std::size_t length = 4; length <= id.size(); ++length) {
            const auto range = id_range(std::string_view(id).substr(0, length));
            ASSERT_TRUE(range);
            EXPECT_LE(range->first, at.key);
            EXPECT_GE(range->second, at.key);
        }
    }
    EXPECT_TRUE(id_key(key, "build-7").odd);
    EXPECT_FALSE(id_range("build"));
    EXPECT_FALSE(id_range("3f9a01c2x"));
}

}  // namespace
}  // namespace wa::store
