// kill -9 at any moment: what was answered is there, and nothing is there by half.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <map>

#include "adapters/embedded_store/testing/fixture.h"

namespace wa::testing {
namespace {

struct Acknowledged {
    std::map<std::string, std::size_t> plans;      // plan id -> tickets
    std::map<std::string, std::string> submitted;  // ticket id -> payload's mark
    std::map<std::string, bool> ended;             // ticket id -> completed
    std::map<std::string, int> started;            // ticket id -> attempt
};

void say(int fd, const std::string& line) {
    // One write of less than PIPE_BUF is whole or not there.
    if (::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) ::_exit(3);
}

// The life of the victim: submits plans, starts and ends tickets, and says of each what was answered. Never returns.
[[noreturn]] void victim(const StoreOptions& options, int fd, std::uint64_t seed) {
    const SystemClock clock;
    SeededRandom random(seed);
    auto opened = EmbeddedStore::open(options, clock, random);
    if (!opened) {
        say(fd, "X " + opened.error().describe() + "\n");
        ::_exit(4);
    }
    EmbeddedStore& store = **opened;
    Engine engine(store);
    engine.start();
    std::size_t done = 0;
    for (int round = 0; true; ++round) {
        const std::string plan = "plan-" + std::to_string(seed) + "-" + std::to_string(round);
        std::vector<NewTicket> tickets;
        const std::size_t count = 1 + random.below(20);
        for (std::size_t n = 0; n < count; ++n) {
            const std::string id = random.chance(0.8) ? uuid4(random) : plan + "-" + std::to_string(n);
            tickets.push_back(make_ticket(
                id, "task", "{\"pad\":\"" + std::string(random.below(3000), 'x') + "\",\"mark\":\"" + id + "\"}"));
        }
        store.submit(make_request(tickets, plan), [fd, plan](Result<SubmitAnswer> answer) {
            if (!answer) return say(fd, "X " + answer.error().describe() + "\n");
            for (const auto& ticket : answer->tickets)
                say(fd, "S " + ticket.ticket_id + " " + plan + "\n");
            say(fd, "P " + plan + " " + std::to_string(answer->tickets.size()) + "\n");
        });
        engine.loop.run_for(std::chrono::milliseconds(random.below(3)));
        CommitBatch batch;
        std::vector<std::string> lines;
        while (done < engine.records.size() && batch.settlements.size() < 30) {
            const Record& record = engine.records[done++];
            if (random.chance(0.3)) {
                batch.intents.push_back(intent(record, record.attempts_made + 1));
                lines.push_back("I " + record.key + " " + std::to_string(record.attempts_made + 1) + "\n");
                continue;
            }
            const bool good = random.chance(0.7);
            batch.settlements.push_back(std::make_shared<Settlement>(
                ending(record, good ? Outcome::kCompleted : Outcome::kExecutionFailed, good ? "" : "no")));
            lines.push_back("E " + record.key + (good ? " 1" : " 0") + "\n");
        }
        if (batch.empty()) continue;
        if (engine.commit(std::move(batch)).status != CommitStatus::kCommitted) ::_exit(5);
        for (const auto& line : lines)
            say(fd, line);
    }
}

class CrashTest : public StoreTest {
protected:
    // Lets a victim work for `time`, kills it, and adds what it had said.
    void run_victim(Duration time, std::uint64_t seed, Acknowledged& known) {
        int ends[2];
        ASSERT_EQ(::pipe(ends), 0);
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            ::close(ends[0]);
            victim(options(), ends[1], seed);
        }
        ::close(ends[1]);
        std::string said;
        const auto until = std::chrono::steady_clock::now() + time;
        char buffer[65536];
        bool killed = false;
        while (true) {
            if (!killed && std::chrono::steady_clock::now() >= until) {
                ::kill(child, SIGKILL);
                killed = true;
            }
            fd_set set;
            FD_ZERO(&set);
            FD_SET(ends[0], &set);
            timeval wait{0, 200};
            if (::select(ends[0] + 1, &set, nullptr, nullptr, &wait) <= 0) continue;
            const ssize_t n = ::read(ends[0], buffer, sizeof buffer);
            if (n <= 0) break;
            said.append(buffer, static_cast<std::size_t>(n));
        }
        ::close(ends[0]);
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status)) << "the victim ended by itself: " << WEXITSTATUS(status) << " " << said;
        note(said, known);
    }

    static void note(const std::string& said, Acknowledged& known) {
        std::istringstream lines(said);
        for (std::string line; std::getline(lines, line);) {
            if (lines.eof() && said.back() != '\n') break;  // cut off in the middle
            std::istringstream words(line);
            std::string kind;
            std::string id;
            std::string rest;
            words >> kind >> id >> rest;
            ASSERT_NE(kind, "X") << line;
            if (kind == "P") known.plans[id] = std::stoul(rest);
            if (kind == "S") known.submitted[id] = rest;
            if (kind == "E") known.ended[id] = rest == "1";
            if (kind == "I") known.started[id] = std::stoi(rest);
        }
    }

    void check(const Acknowledged& known) {
        for (const auto& [plan, count] : known.plans) {
            const auto found = store_->plan(plan);
            ASSERT_TRUE(found) << plan;
            EXPECT_EQ(found->total, static_cast<std::int64_t>(count));
        }
        for (const auto& [id, plan] : known.submitted) {
            const auto found = store_->ticket(id);
            ASSERT_TRUE(found) << found.error().describe();
            EXPECT_EQ(found->summary.plan_id, plan);
            EXPECT_NE(found->summary.payload.find(id), std::string::npos);
        }
        for (const auto& [id, completed] : known.ended) {
            const auto found = store_->ticket(id);
            ASSERT_TRUE(found) << found.error().describe();
            EXPECT_EQ(found->summary.phase, completed ? StoredPhase::kCompleted : StoredPhase::kFailed) << id;
            EXPECT_FALSE(found->result_json.empty());
            EXPECT_TRUE(store_->history(id));
        }
        for (const auto& [id, attempt] : known.started) {
            const auto attempts = store_->attempts(id);
            ASSERT_TRUE(attempts) << attempts.error().describe();
            ASSERT_GE(attempts->size(), static_cast<std::size_t>(attempt)) << id;
            EXPECT_NE(attempts->at(static_cast<std::size_t>(attempt) - 1).outcome, "running");
        }
        check_whole();
    }

    // Also what was never answered is there whole or not at all, and the counts fit the rows.
    void check_whole() {
        std::int64_t rows = 0;
        PhaseCounts seen;
        for (std::size_t offset = 0; true; offset += 1000) {
            TicketQuery query;
            query.offset = offset;
            query.limit = 1000;
            query.with_payload = true;
            const auto page = store_->tickets(query);
            ASSERT_TRUE(page) << page.error().describe();
            for (const auto& ticket : page->tickets) {
                ++rows;
                ++seen[ticket.phase];
                EXPECT_NE(ticket.payload.find(ticket.ticket_id), std::string::npos);
                EXPECT_NE(ticket.phase, StoredPhase::kRunning);
            }
            if (page->tickets.size() < 1000) break;
        }
        EXPECT_EQ(store_->counts().value(), seen);
        std::int64_t in_plans = 0;
        for (std::size_t offset = 0; true; offset += 1000) {
            const auto page = store_->plans(offset, 1000);
            ASSERT_TRUE(page);
            for (const auto& plan : page->plans) {
                in_plans += plan.total;
                EXPECT_GT(plan.total, 0) << plan.plan_id;
            }
            if (page->plans.size() < 1000) break;
        }
        EXPECT_EQ(in_plans, rows);
    }
};

TEST_F(CrashTest, KilledAtAnyMomentNothingAnsweredIsLost) {
    SeededRandom random(20240607);
    constexpr int kRounds = 60;
    Acknowledged known;
    for (int round = 0; round < kRounds; ++round) {
        if (round % 12 == 0) {  // a young file now and then: creation is killed too
            store_.reset();
            std::filesystem::remove_all(folder_.path());
            std::filesystem::create_directory(folder_.path());
            known = {};
        }
        const auto time = std::chrono::microseconds(500 + random.below(round % 12 == 0 ? 20'000 : 60'000));
        run_victim(time, 1000 + static_cast<std::uint64_t>(round), known);
        if (HasFatalFailure()) return;
        open();
        if (HasFatalFailure()) return;
        check(known);
        if (HasFailure()) FAIL() << "round " << round;
        store_->close(random.chance(0.5) ? StopKind::kDrained : StopKind::kUnclean);
        store_.reset();
    }
    EXPECT_GT(known.submitted.size() + known.ended.size(), 0U);
}

}  // namespace
}  // namespace wa::testing
