// What a durable ticket costs in the embedded store, beside bare SQLite on the same disk.
//
//   store_bench [--dir DIR] [--tickets N] [--plan N]
//
// Bare SQLite: N rows of the same payload in one synced transaction after the other. Store: plans are submitted, each
// ticket's start is made durable, each ticket is settled; the three kinds of write are timed apart, each until its
// answer is there. "cpu" is the processor time of the whole process, which is nearly all the writer thread's.
#include <sqlite3.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "adapters/embedded_store/ports.h"
#include "adapters/embedded_store/store.h"
#include "core/codec/result_json.h"

namespace {

using namespace wa;

struct Settings {
    std::filesystem::path dir = std::filesystem::temp_directory_path();
    std::size_t tickets = 50'000;
    std::size_t plan = 1'000;
};

double cpu_seconds() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

class Stopwatch {
public:
    void report(const char* what, std::size_t tickets) const {
        const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
        const double cpu = cpu_seconds() - cpu_;
        const double count = static_cast<double>(tickets);
        std::printf("%-28s %9.0f tickets/s  %7.2f us wall  %7.2f us cpu each\n", what, count / wall, wall / count * 1e6,
                    cpu / count * 1e6);
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    double cpu_ = cpu_seconds();
};

std::string payload_of(const std::string& id, std::size_t n) {
    return R"({"ticket_id":")" + id +
           R"(","plan_id":"plan","intent_id":"intent","decision_id":"decision","task_id":"task-)" + std::to_string(n) +
           R"(","task_type":"EXECUTE","description":"a no-op","dependencies":[],"status":"PENDING","priority":"NORMAL",)"
           R"("risk_band":"medium","sla":{"deadline":null,"timeout_ms":60000,"max_retries":3},"qos":{"delivery_mode":)"
           R"("AT_LEAST_ONCE","consistency":"EVENTUAL","durability":"PERSISTENT"},"parameters":{"command":"true","args":[],)"
           R"("runtime":"noop"},"required_capabilities":[],"security_level":"INTERNAL","created_at":1760000000000,)"
           R"("retry_count":0,"metadata":{},"schema_version":1})";
}

void must(bool ok, const char* what) {
    if (ok) return;
    std::fprintf(stderr, "failed: %s\n", what);
    std::exit(1);
}

void bare_sqlite(const Settings& settings, Random& random) {
    const auto path = settings.dir / ("bare-" + std::to_string(getpid()) + ".db");
    sqlite3* db = nullptr;
    must(sqlite3_open(path.c_str(), &db) == SQLITE_OK, "open");
    must(sqlite3_exec(db,
                      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;"
                      "CREATE TABLE rows(id TEXT PRIMARY KEY, payload TEXT)",
                      nullptr, nullptr, nullptr) == SQLITE_OK,
         "schema");
    sqlite3_stmt* insert = nullptr;
    must(sqlite3_prepare_v2(db, "INSERT INTO rows VALUES(?1,?2)", -1, &insert, nullptr) == SQLITE_OK, "prepare");
    const Stopwatch watch;
    for (std::size_t done = 0; done < settings.tickets; done += settings.plan) {
        must(sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK, "begin");
        for (std::size_t n = 0; n < settings.plan; ++n) {
            const std::string id = uuid4(random);
            const std::string payload = payload_of(id, n);
            sqlite3_bind_text(insert, 1, id.data(), static_cast<int>(id.size()), SQLITE_STATIC);
            sqlite3_bind_text(insert, 2, payload.data(), static_cast<int>(payload.size()), SQLITE_STATIC);
            must(sqlite3_step(insert) == SQLITE_DONE, "insert");
            sqlite3_reset(insert);
        }
        must(sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK, "commit");
    }
    watch.report("bare SQLite, one row each", settings.tickets);
    sqlite3_finalize(insert);
    sqlite3_close(db);
    for (const char* suffix : {"", "-wal", "-shm"})
        std::filesystem::remove(path.string() + suffix);
}

// A counter of answers that the main thread waits for.
class Answers {
public:
    void add() {
        const std::lock_guard lock(mutex_);
        ++count_;
        wake_.notify_one();
    }
    void wait(std::size_t count) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return count_ >= count; });
    }

private:
    std::mutex mutex_;
    std::condition_variable wake_;
    std::size_t count_ = 0;
};

Settlement settlement_of(Offset seq, const std::string& id) {
    Settlement out;
    out.position.offset = out.origin.offset = seq;
    out.epoch = 1;
    out.ticket_id = out.key = id;
    out.result.ticket_id = id;
    out.result.success = true;
    out.result.metadata = {
        {"outcome", "completed"}, {"attempts", "1"}, {"queue_wait_ms", "3"}, {"dependency_wait_ms", "0"}};
    out.result.timestamp = out.result.completed_at = 1'760'000'000'500;
    out.result.started_at = 1'760'000'000'400;
    out.result.agent_id = "worker";
    out.result.plan_id = "plan";
    for (const State to : {State::kReady, State::kQueued, State::kStarting, State::kRunning, State::kReporting}) {
        out.history.push_back({1'760'000'000'400, State::kReceived, to, 1, "slot granted", "engine"});
    }
    AttemptRecord attempt;
    attempt.number = 1;
    attempt.started_at = 1'760'000'000'400;
    attempt.ended_at = 1'760'000'000'500;
    attempt.outcome = "completed";
    attempt.runtime = "noop";
    out.attempts.push_back(std::move(attempt));
    return out;
}

struct Stored {
    Offset seq = 0;
    std::string id;
};

std::vector<Stored> submit_plans(EmbeddedStore& store, const Settings& settings, Random& random) {
    std::vector<SubmitRequest> requests;
    for (std::size_t done = 0; done < settings.tickets; done += settings.plan) {
        SubmitRequest request;
        request.plan_id = uuid4(random);
        for (std::size_t n = 0; n < settings.plan; ++n) {
            NewTicket ticket;
            ticket.ticket_id = uuid4(random);
            ticket.task_id = "task-" + std::to_string(n);
            ticket.payload = payload_of(ticket.ticket_id, n);
            request.tickets.push_back(std::move(ticket));
        }
        requests.push_back(std::move(request));
    }
    std::vector<Stored> stored;
    std::mutex mutex;
    const Stopwatch watch;
    const std::size_t plans = requests.size();
    Answers one_at_a_time;
    for (std::size_t n = 0; n < plans; ++n) {
        store.submit(std::move(requests[n]), [&](Result<SubmitAnswer> answer) {
            must(answer.has_value(), "submit");
            {
                const std::lock_guard lock(mutex);
                for (const auto& ticket : answer->tickets)
                    stored.push_back({ticket.queue_seq, ticket.ticket_id});
            }
            one_at_a_time.add();
        });
        one_at_a_time.wait(n + 1);
    }
    watch.report("store: submit", settings.tickets);
    return stored;
}

void run_batches(EmbeddedStore& store, const std::vector<Stored>& stored, std::size_t size, const char* what,
                 const std::function<void(CommitBatch&, const Stored&)>& fill) {
    Answers answers;
    EmbeddedSinkOptions options;
    options.encode_result = [](const ExecutionResult& result) { return write_result(result); };
    options.encode_ticket = [](const Ticket&) { return std::string(); };
    EmbeddedSink sink(
        store, [](const std::function<void()>& task) { task(); },
        [&](SinkInput input) {
            must(std::get<CommitResult>(input).status == CommitStatus::kCommitted, "commit");
            answers.add();
        },
        std::move(options));
    const Stopwatch watch;
    std::size_t number = 0;
    for (std::size_t at = 0; at < stored.size(); at += size) {
        CommitBatch batch;
        batch.number = ++number;
        for (std::size_t n = at; n < std::min(at + size, stored.size()); ++n)
            fill(batch, stored[n]);
        sink.commit(batch);
        answers.wait(number);
    }
    watch.report(what, stored.size());
}

void embedded_store(const Settings& settings, Random& random) {
    const auto folder = settings.dir / ("store-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
    const SystemClock clock;
    StoreOptions options;
    options.path = folder / "worker.db";
    {
        auto opened = EmbeddedStore::open(options, clock, random);
        must(opened.has_value(), opened ? "" : opened.error().describe().c_str());
        EmbeddedStore& store = **opened;
        const std::vector<Stored> stored = submit_plans(store, settings, random);
        run_batches(store, stored, settings.plan, "store: intent", [](CommitBatch& batch, const Stored& ticket) {
            batch.intents.push_back({{0, ticket.seq}, 1, ticket.id, 1, 1'760'000'000'300});
        });
        run_batches(store, stored, settings.plan, "store: settle", [](CommitBatch& batch, const Stored& ticket) {
            batch.settlements.push_back(std::make_shared<Settlement>(settlement_of(ticket.seq, ticket.id)));
        });
        store.close(StopKind::kDrained);
        std::printf("%-28s %9.1f MiB, %.0f bytes a ticket\n", "store: file",
                    static_cast<double>(std::filesystem::file_size(options.path)) / 1048576.0,
                    static_cast<double>(std::filesystem::file_size(options.path)) / static_cast<double>(stored.size()));
    }
    std::filesystem::remove_all(folder);
}

}  // namespace

int main(int argc, char** argv) {
    Settings settings;
    for (int n = 1; n + 1 < argc; n += 2) {
        if (std::strcmp(argv[n], "--dir") == 0) settings.dir = argv[n + 1];
        if (std::strcmp(argv[n], "--tickets") == 0) settings.tickets = std::strtoul(argv[n + 1], nullptr, 10);
        if (std::strcmp(argv[n], "--plan") == 0) settings.plan = std::strtoul(argv[n + 1], nullptr, 10);
    }
    must(settings.plan > 0 && settings.tickets >= settings.plan, "--plan must be at least 1 and at most --tickets");
    SeededRandom random(1);
    std::printf("%zu tickets in plans of %zu, in %s\n", settings.tickets, settings.plan, settings.dir.c_str());
    bare_sqlite(settings, random);
    embedded_store(settings, random);
    return 0;
}
