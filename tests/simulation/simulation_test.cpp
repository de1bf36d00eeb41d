// Thousands of seeded histories of the real engine. A failing seed is printed; it replays alone and readably with
//   build/<preset>/tests/simulation_tests --seed=N [--variant=K] [--no-leases]
// and is then added to kRegressions below.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "simulation/world.h"

namespace wa::sim {
namespace {

std::uint64_t seeds_to_run() {
    const char* text = std::getenv("WA_SIMULATION_SEEDS");
    if (text == nullptr) return 20'000;
    std::uint64_t seeds = 0;
    std::from_chars(text, text + std::string_view(text).size(), seeds);
    return seeds;
}

// Histories that once broke a promise. Each stays for ever.
constexpr std::uint64_t kRegressions[] = {4,    30,    96,    226,   371,  2825, 2991, 4672,  9680,
                                          9882, 11789, 14167, 18017, 2787, 6220, 7272, 18119, 57326};

TEST(Simulation, RegressionSeedsHold) {
    for (const std::uint64_t seed : kRegressions) {
        for (const bool leases : {false, true}) {  // most of them are older than leases
            const Verdict verdict = simulate({seed, Variant::kNone, false, leases});
            EXPECT_FALSE(verdict.violation.has_value())
                << "seed " << seed << (leases ? "" : " --no-leases") << ": " << *verdict.violation;
        }
    }
}

TEST(Simulation, TheSameSeedGivesTheSameHistory) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        EXPECT_EQ(simulate({seed, Variant::kNone, false}).trace_hash, simulate({seed, Variant::kNone, true}).trace_hash)
            << "seed " << seed;
    }
}

// Rare things that must have happened somewhere in all these histories, or the search does not reach them.
const char* const kSometimes[] = {
    "retry",
    "retry_after_timeout",
    "held",
    "parked",
    "requeued",
    "suppressed",
    "cycle",
    "breaker_deferred",
    "crash",
    "crash_while_reporting",
    "crash_while_executing",
    "crash_in_transaction",
    "readers_held_back",
    "lost_while_executing",
    "revoke_while_executing",
    "released",
    "fatal_commit_happened",
    "fatal_commit_undone",
    "commit_aborted",
    "commit_retry",
    "settlement_rejected",
    "metadata_too_large",
    "foreign_metadata",
    "clock_jump",
    "disk_full",
    "drained",
    "unstoppable",
    "asked_again",
    "delivered_ahead",
    "limits_changed",
    "adopted",
    "adopted_when_over",
    "adopted_other_number",
    "finished_when_stopped",
    "compensation",
    "ticket_kills_worker",
    "dead_letter_worker_crashed",
    "dead_letter_decode_error",
    "dead_letter_unsupported_task_type",
    "outcome_completed",
    "outcome_execution_failed",
    "outcome_timeout",
    "outcome_deadline_exceeded",
    "outcome_dependency_failed",
    "outcome_dependency_timeout",
    "outcome_cancelled",
    "outcome_preempted",
    "stop_timeout",
    "stop_shutdown",
    "stop_partition_revoked",
    "stop_cancelled",
    "intake_closed_intake-paused",
    "intake_closed_draining",
    "intake_closed_parked-full",
    "intake_closed_sink-unavailable",
    "intake_closed_statuses-behind",
    "handed_back_parked",
    "handed_back_queued",
    "handed_back_backing_off",
    "handed_back_cancelling",
    "lease_held",
    "lease_succeeded",
    "lease_processed",
    "lease_of_earlier_life",
    "lease_unavailable",
    "leases_forgotten",
};

TEST(Simulation, PromisesHoldInEveryHistory) {
    const std::uint64_t seeds = seeds_to_run();
    std::printf("simulation: seeds 1 to %llu\n", static_cast<unsigned long long>(seeds));
    std::atomic<std::uint64_t> next{1};
    std::mutex mutex;
    std::map<std::uint64_t, std::string> failures;
    std::map<std::string, std::uint64_t> marks;  // histories by what happened in them
    std::uint64_t steps = 0;
    const auto work = [&] {
        std::map<std::string, std::uint64_t> seen;
        std::uint64_t count = 0;
        for (std::uint64_t seed = next++; seed <= seeds; seed = next++) {
            const Verdict verdict = simulate({seed, Variant::kNone, false});
            for (const std::string& mark : verdict.marks)
                ++seen[mark];
            count += verdict.steps;
            if (!verdict.violation) continue;
            const std::lock_guard lock(mutex);
            failures[seed] = *verdict.violation;
            if (failures.size() > 20) break;
        }
        const std::lock_guard lock(mutex);
        for (const auto& [mark, histories] : seen)
            marks[mark] += histories;
        steps += count;
    };
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < std::max(1U, std::thread::hardware_concurrency()); ++i)
        threads.emplace_back(work);
    for (std::thread& thread : threads)
        thread.join();
    for (const auto& [seed, what] : failures)
        ADD_FAILURE() << "seed " << seed << ": " << what << "\n  replay: simulation_tests --seed=" << seed;
    std::printf("simulation: %llu steps\n", static_cast<unsigned long long>(steps));
    constexpr std::uint64_t kManySeeds = 5000;
    if (seeds < kManySeeds) return;  // too few to demand the rare branches
    const auto rarest = std::min_element(std::begin(kSometimes), std::end(kSometimes),
                                         [&](const char* a, const char* b) { return marks[a] < marks[b]; });
    std::printf("simulation: rarest of %zu marks is %s, in %llu histories\n", std::size(kSometimes), *rarest,
                static_cast<unsigned long long>(marks[*rarest]));
    for (const char* mark : kSometimes)
        EXPECT_GT(marks[mark], 0U) << "no history reached: " << mark;
}

struct BrokenEngine {
    Variant variant;
    const char* name;
};
constexpr BrokenEngine kBroken[] = {
    {Variant::kUnfencedOutcomes, "rule 1: outcomes of a lost partition are committed"},
    {Variant::kAnonymousOffsets, "rule 2: a consumer made anew sends the old one's outcomes without a generation"},
    {Variant::kReleaseTooEarly, "rule 1: a partition is let go with a transaction open"},
    {Variant::kForgetOnAbort, "rule 6: outcomes are forgotten when a commit is aborted"},
    {Variant::kResendAfterFatal, "rule 6: everything is sent again after a rebuild"},
    {Variant::kEffectsBeforeCommit, "rule 9: effects before the commit"},
    {Variant::kRunCompletedAgain, "rule 11: a completed ticket runs again"},
    {Variant::kRequeueForgets, "rule 14: a re-queued ticket is forgotten before the commit"},
    {Variant::kOldFailureEndsWaiter, "rule 15: an old failure ends a waiter"},
    {Variant::kCommitPastOpen, "offsets: commits past an open one"},
    {Variant::kIgnoreFinishedSet, "offsets: the finished set is ignored"},
    {Variant::kIgnoreDependencies, "order: dependencies are ignored"},
    {Variant::kParkedHoldsWindow, "deadlock: waiting tickets hold the window"},
    {Variant::kNoSlotLimit, "bounds: no slot limit"},
    {Variant::kNoAttemptTimeout, "deadlines: attempts are not limited"},
    {Variant::kTwoEndings, "one ending: two are reported"},
    {Variant::kCompensateAtEachFailure, "compensation: a new id each time"},
    {Variant::kDrainSettles, "drain: handed back tickets are failed"},
    {Variant::kSimulatedUnlabelled, "nothing made up: the label is lost"},
    {Variant::kTrustStaleClean, "rule 4: a stale clean mark is trusted"},
    {Variant::kWakeLost, "waiting: only the first waiter wakes"},
    {Variant::kIgnoreLeases, "rule 11: leases are ignored"},
    {Variant::kLeaseBackBeforeCommit, "rule 11: leases are given back before the commit"},
    {Variant::kKeepLeases, "rule 11: leases of what was handed back are kept"},
};

class CheckerCatches : public testing::TestWithParam<BrokenEngine> {};

TEST_P(CheckerCatches, ABrokenEngine) {
    constexpr std::uint64_t kTries = 20'000;
    for (std::uint64_t seed = 1; seed <= kTries; ++seed) {
        const Verdict verdict = simulate({seed, GetParam().variant, false});
        if (!verdict.violation) continue;
        std::printf("caught at seed %llu: %s\n", static_cast<unsigned long long>(seed), verdict.violation->c_str());
        return;
    }
    FAIL() << "the checker did not notice: " << GetParam().name;
}

INSTANTIATE_TEST_SUITE_P(Variants, CheckerCatches, testing::ValuesIn(kBroken), [](const auto& info) {
    return "Variant" + std::to_string(static_cast<int>(info.param.variant));
});

int replay(std::uint64_t seed, Variant variant, bool leases) {
    const Verdict verdict = simulate({seed, variant, true, leases});
    for (const std::string& line : verdict.trace)
        std::printf("%s\n", line.c_str());
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed),
                verdict.violation ? verdict.violation->c_str() : "all promises held");
    return verdict.violation ? 1 : 0;
}

}  // namespace
}  // namespace wa::sim

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    std::uint64_t seed = 0;
    int variant = 0;
    bool leases = true;
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument(argv[i]);
        if (argument.starts_with("--seed="))
            std::from_chars(argument.data() + 7, argument.data() + argument.size(), seed);
        if (argument == "--no-leases") leases = false;
        if (argument.starts_with("--variant="))
            std::from_chars(argument.data() + 10, argument.data() + argument.size(), variant);
    }
    if (seed != 0) return wa::sim::replay(seed, static_cast<wa::Variant>(variant), leases);
    return RUN_ALL_TESTS();
}
