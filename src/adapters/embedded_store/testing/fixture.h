// What the store's tests share: a folder that goes away, a clock that obeys, and calls that wait for their answer.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "adapters/embedded_store/ports.h"
#include "adapters/embedded_store/store.h"

namespace wa::testing {

class ManualClock final : public Clock {
public:
    [[nodiscard]] MonoTime now() const override { return MonoTime(Duration(mono_.load())); }
    [[nodiscard]] EpochMillis wall_now() const override { return wall_.load(); }
    void advance(Duration by) {
        mono_ += by.count();
        wall_ += to_millis(by);
    }

private:
    std::atomic<std::int64_t> mono_{1'000'000'000};
    std::atomic<std::int64_t> wall_{1'760'000'000'000};
};

class TempFolder {
public:
    // In memory where there is room: most tests sync a thousand times and do not care about the disk.
    TempFolder() {
        std::error_code code;
        const std::filesystem::path memory = "/dev/shm";
        const auto space = std::filesystem::space(memory, code);
        const bool roomy = !code && space.available >= std::uintmax_t{512} * 1024 * 1024;
        std::string name = ((roomy ? memory : std::filesystem::temp_directory_path()) / "wa-store-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        path_ = name;
    }
    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

// Waits for the answer of an asynchronous call: wait<SubmitAnswer>([&](auto answer) { store.submit(request, answer);
// }).
template <class T, class F>
Result<T> wait(F&& call) {
    auto promise = std::make_shared<std::promise<Result<T>>>();
    auto future = promise->get_future();
    call(StoreCallback<T>([promise](Result<T> result) { promise->set_value(std::move(result)); }));
    return future.get();
}

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}
inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline NewTicket make_ticket(std::string id, std::string task = "task", std::string payload = {}) {
    NewTicket ticket;
    ticket.payload =
        payload.empty() ? R"({"ticket_id":")" + id + R"(","task_id":")" + task + "\"}" : std::move(payload);
    ticket.ticket_id = std::move(id);
    ticket.task_id = std::move(task);
    return ticket;
}
inline SubmitRequest make_request(std::vector<NewTicket> tickets, std::string plan = "plan-1") {
    SubmitRequest request;
    request.plan_id = std::move(plan);
    request.plan_name = "name of " + request.plan_id;
    request.tickets = std::move(tickets);
    return request;
}

// A loop as the engine has one: whatever is posted runs in run_until(), on the calling thread.
class Loop {
public:
    [[nodiscard]] Post post() {
        return [this](std::function<void()> task) {
            {
                const std::lock_guard lock(mutex_);
                tasks_.push_back(std::move(task));
            }
            wake_.notify_one();
        };
    }
    // False when `done` did not become true in time.
    bool run_until(const std::function<bool()>& done, std::chrono::milliseconds most = std::chrono::seconds(20)) {
        const auto until = std::chrono::steady_clock::now() + most;
        while (!done()) {
            std::function<void()> task;
            {
                std::unique_lock lock(mutex_);
                if (!wake_.wait_until(lock, until, [this] { return !tasks_.empty(); })) return done();
                task = std::move(tasks_.front());
                tasks_.pop_front();
            }
            task();
        }
        return true;
    }
    void run_for(std::chrono::milliseconds time) {
        run_until([] { return false; }, time);
    }

private:
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> tasks_;
};

// Source and sink as the engine sees them.
class Engine {
public:
    explicit Engine(EmbeddedStore& store, bool compensate = false, EmbeddedSourceLimits limits = {}) {
        EmbeddedSinkOptions options;
        options.compensate_supported = compensate;
        options.encode_result = [](const ExecutionResult& result) {
            std::string logs;
            for (const auto& line : result.logs)
                logs += (logs.empty() ? "\"" : ",\"") + line + "\"";
            return R"({"ticket_id":")" + result.ticket_id + R"(","result":{"success":)" +
                   (result.success ? "true" : "false") + R"(,"logs":[)" + logs + "]}}";
        };
        options.encode_ticket = [](const Ticket& ticket) { return R"({"ticket_id":")" + ticket.ticket_id + "\"}"; };
        source = std::make_unique<EmbeddedSource>(
            store, loop.post(), [this](SourceInput input) { take(std::move(input)); }, limits);
        sink = std::make_unique<EmbeddedSink>(
            store, loop.post(),
            [this](SinkInput input) {
                if (auto* result = std::get_if<CommitResult>(&input)) commits.push_back(std::move(*result));
            },
            std::move(options));
        tickets = std::make_unique<EmbeddedTicketService>(
            store, loop.post(), [this](DependencyStatuses answer) { statuses.push_back(std::move(answer)); });
    }

    void start() {
        source->start();
        source->set_open(true);
    }
    bool wait_records(std::size_t count) {
        return loop.run_until([&] { return records.size() >= count; });
    }
    CommitResult commit(CommitBatch batch) {
        if (batch.number == 0) batch.number = ++number;
        const std::size_t before = commits.size();
        sink->commit(batch);
        if (!loop.run_until([&] { return commits.size() > before; })) ADD_FAILURE() << "no answer from the sink";
        return commits.size() > before ? commits.back() : CommitResult{};
    }

    Loop loop;
    std::unique_ptr<EmbeddedSource> source;
    std::unique_ptr<EmbeddedSink> sink;
    std::unique_ptr<EmbeddedTicketService> tickets;
    std::vector<PartitionAssigned> assigned;
    std::vector<Record> records;
    std::vector<CommitResult> commits;
    std::vector<DependencyStatuses> statuses;
    std::function<void(const Record&)> on_record;
    std::uint64_t number = 0;

private:
    void take(SourceInput input) {
        if (auto* record = std::get_if<Record>(&input)) {
            records.push_back(std::move(*record));
            if (on_record) on_record(records.back());
        } else if (auto* partition = std::get_if<PartitionAssigned>(&input)) {
            assigned.push_back(std::move(*partition));
        }
    }
};

inline Settlement ending(const Record& record, Outcome outcome = Outcome::kCompleted, std::string error = {}) {
    Settlement out;
    out.position = record.position;
    out.origin = record.origin;
    out.epoch = record.epoch;
    out.ticket_id = record.key;
    out.key = record.key;
    out.outcome = outcome;
    out.result.ticket_id = record.key;
    out.result.success = is_success(outcome);
    out.result.error_message = std::move(error);
    out.result.timestamp = out.result.completed_at = 1'760'000'000'500;
    out.result.started_at = 1'760'000'000'100;
    out.result.actual_duration_ms = 400;
    out.result.logs = {"first line", "last line"};
    out.history.push_back({1'760'000'000'100, State::kReceived, State::kReady, 0, "dependencies done", "engine"});
    AttemptRecord attempt;
    attempt.number = record.attempts_made + 1;
    attempt.started_at = 1'760'000'000'100;
    attempt.ended_at = 1'760'000'000'500;
    attempt.outcome = is_success(outcome) ? "completed" : "failed";
    attempt.runtime = "local";
    attempt.exit_code = is_success(outcome) ? 0 : 1;
    out.attempts.push_back(attempt);
    return out;
}
inline AttemptIntent intent(const Record& record, std::int32_t number) {
    return {record.position, record.epoch, record.key, number, 1'760'000'000'050};
}

class StoreTest : public ::testing::Test {
protected:
    [[nodiscard]] StoreOptions options() const {
        StoreOptions out;
        out.path = folder_.path() / "worker.db";
        out.limits.reserve_bytes = 256 * 1024;
        out.retention.run_every = Duration::zero();
        return out;
    }
    void open(StoreOptions with) {
        store_.reset();
        auto opened = EmbeddedStore::open(std::move(with), clock_, random_);
        ASSERT_TRUE(opened) << opened.error().describe();
        store_ = std::move(*opened);
    }
    void open() { open(options()); }
    void reopen(StopKind kind = StopKind::kDrained) {
        store_->close(kind);
        open();
    }
    Result<SubmitAnswer> submit(SubmitRequest request) {
        return wait<SubmitAnswer>([&](auto answer) { store_->submit(std::move(request), answer); });
    }

    TempFolder folder_;
    SystemClock clock_;
    SeededRandom random_{7};
    std::unique_ptr<EmbeddedStore> store_;
};

}  // namespace wa::testing
