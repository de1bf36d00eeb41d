// The engine by itself, on ports that live in memory: no store, no threads, no processes. One JSON object on stdout.
//
//   engine_bench chain|fanin|random TICKETS
//
// Every plan hangs on one gate: its attempt is held open until all tickets are read, so that all others are parked, and
// what a parked ticket costs can be measured. Then the gate ends, and the plan runs to its end. Tickets are JSON and
// are decoded as in the worker; attempts end at once; a commit is answered at the next turn. Times are the thread's
// processor time: it has nothing to wait for.
//   chain   each ticket needs the one before
//   fanin   TICKETS tickets need the gate, and one ticket needs them all
//   random  each ticket needs one to three earlier ones, near or far
#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "core/codec/ticket_json.h"
#include "flow/engine.h"

namespace {

using namespace wa;

[[noreturn]] void give_up(const std::string& message) {
    std::fprintf(stderr, "engine_bench: %s\n", message.c_str());
    std::exit(1);
}

class MemorySource final : public TicketSource {
public:
    void set_open(bool open) override { open_ = open; }
    void release(PartitionId, Epoch) override {}
    [[nodiscard]] bool open() const { return open_; }

private:
    bool open_ = false;
};

class MemorySink final : public ResultSink {
public:
    [[nodiscard]] SinkTraits traits() const override { return {}; }
    void commit(const CommitBatch& batch) override {
        for (const auto& settlement : batch.settlements)
            (settlement->outcome == Outcome::kCompleted ? completed_ : others_) += 1;
        CommitResult result;
        result.number = batch.number;
        answer_ = std::move(result);
    }
    void recover() override {}
    [[nodiscard]] std::optional<CommitResult> take_answer() { return std::exchange(answer_, std::nullopt); }
    [[nodiscard]] std::size_t completed() const { return completed_; }
    [[nodiscard]] std::size_t others() const { return others_; }

private:
    std::optional<CommitResult> answer_;
    std::size_t completed_ = 0;
    std::size_t others_ = 0;
};

// Nobody outside knows these tickets.
class NoTickets final : public TicketService {
public:
    void update_status(StatusUpdate) override {}
    void lookup(std::vector<std::string>) override {}
};

class NoOp final : public Executor {
public:
    [[nodiscard]] TaskType task_type() const override { return TaskType::kExecute; }
    [[nodiscard]] std::string backend(const Ticket&) const override { return "no-op"; }
    [[nodiscard]] bool has_effects(const Ticket&) const override { return false; }
    [[nodiscard]] bool can_detach(const Ticket&) const override { return false; }
    [[nodiscard]] Result<void> validate(const Ticket&) const override { return {}; }
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        AttemptListener& listener) override {
        if (context.ticket->task_id == "gate") {
            gate_ = context.key;
            gate_listener_ = &listener;
        } else {
            listener.attempt_ended(context.key, report());
        }
        return std::make_unique<Attempt>();
    }
    [[nodiscard]] bool gate_waits() const { return gate_listener_ != nullptr; }
    void open_gate() { std::exchange(gate_listener_, nullptr)->attempt_ended(gate_, report()); }

private:
    class Attempt final : public RunningAttempt {
    public:
        void stop(StopReason, Duration) override {}
    };
    static AttemptReport report() {
        AttemptReport out;
        out.success = true;
        out.runtime = "no-op";
        return out;
    }
    AttemptKey gate_;
    AttemptListener* gate_listener_ = nullptr;
};

class Plan {
public:
    Plan(std::string shape, std::size_t tickets) : shape_(std::move(shape)), tickets_(tickets) {
        if (shape_ != "chain" && shape_ != "fanin" && shape_ != "random") give_up("no such plan: " + shape_);
    }
    // The gate is the first; a fan-in has one more at the end.
    [[nodiscard]] std::size_t size() const { return 1 + tickets_ + (shape_ == "fanin" ? 1 : 0); }
    // In the form of a uuid, as in life.
    [[nodiscard]] static std::string id(std::size_t n) {
        char text[37];
        std::snprintf(text, sizeof text, "00000000-0000-4000-8000-%012zx", n);
        return text;
    }
    [[nodiscard]] std::string payload(std::size_t n) {
        std::string needs;
        if (n == 0) return text(n, needs, "gate");
        if (shape_ == "chain") {
            add(needs, n - 1);
        } else if (shape_ == "fanin") {
            if (n <= tickets_) add(needs, 0);
            for (std::size_t each = 1; n > tickets_ && each <= tickets_; ++each)
                add(needs, each);
        } else {
            std::size_t before = n;
            for (std::int64_t left = random_.between(1, 3); left > 0 && before > 0; --left) {
                constexpr std::uint64_t kNear = 100;
                const std::uint64_t reach = random_.chance(0.5) ? std::min<std::uint64_t>(before, kNear) : before;
                before -= 1 + random_.below(reach);
                add(needs, before);
            }
        }
        return text(n, needs, "task-" + std::to_string(n));
    }

private:
    static void add(std::string& needs, std::size_t n) {
        if (!needs.empty()) needs += ',';
        needs += '"' + id(n) + '"';
    }
    static std::string text(std::size_t n, const std::string& needs, const std::string& task) {
        return R"({"ticket_id":")" + id(n) +
               R"(","plan_id":"plan","intent_id":"bench","decision_id":"bench","task_id":")" + task +
               R"(","task_type":"EXECUTE","description":"a no-op","dependencies":[)" + needs +
               R"(],"status":"PENDING","priority":"NORMAL","risk_band":"medium","sla":{"deadline":null,"timeout_ms":3600000,)"
               R"("max_retries":0},"qos":{"delivery_mode":"AT_LEAST_ONCE","consistency":"EVENTUAL","durability":"PERSISTENT"},)"
               R"("parameters":{"command":"true"},"required_capabilities":[],"security_level":"INTERNAL",)"
               R"("created_at":1760000000000,"retry_count":0,"metadata":{},"schema_version":1})";
    }

    std::string shape_;
    std::size_t tickets_;
    SeededRandom random_{1};
};

std::size_t bytes_in_use() {
    const struct mallinfo2 info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
}

struct Figures {
    double read_s = 0;
    double run_s = 0;
    double bytes_each = 0;
    std::size_t parked = 0;
};

class Run {
public:
    Run(std::string shape, std::size_t tickets) : plan_(std::move(shape), tickets) {
        EngineOptions options;
        options.max_concurrent_tasks = 1024;
        options.max_concurrent_tickets = 10'000;
        options.max_parked = 10'000'000;
        TicketLimits limits;
        limits.max_bytes = limits.max_dependencies = 64 * 1024 * 1024;  // one fan-in is as long as it is wide
        engine_ = std::make_unique<Engine>(
            options, EnginePorts{source_,
                                 sink_,
                                 tickets_,
                                 observer_,
                                 clock_,
                                 random_,
                                 {{TaskType::kExecute, &no_op_}},
                                 [limits](std::string_view text) { return parse_ticket(text, limits); }});
        PartitionAssigned assigned;
        assigned.epoch = 1;
        engine_->handle(std::move(assigned));
    }

    Figures measure() {
        Figures out;
        const std::size_t before = bytes_in_use();
        for (std::size_t n = 0; n < plan_.size(); n += kReadAtOnce)
            read(n, std::min(n + kReadAtOnce, plan_.size()));
        out.read_s = spent_;
        spent_ = 0;
        out.parked = engine_->gauges().parked;
        if (out.parked + 1 != plan_.size() || !no_op_.gate_waits()) give_up("not all tickets are parked");
        out.bytes_each = static_cast<double>(bytes_in_use() - before - text_bytes_) / static_cast<double>(out.parked);
        timed([&] {
            no_op_.open_gate();
            while (auto answer = sink_.take_answer())
                engine_->handle(std::move(*answer));
        });
        out.run_s = spent_;
        if (sink_.completed() != plan_.size() || sink_.others() != 0 || !engine_->idle())
            give_up("not all tickets ran");
        return out;
    }

private:
    static constexpr std::size_t kReadAtOnce = 1000;

    static double processor_seconds() {
        timespec time{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
    }

    // What the bench itself does (making tickets) does not count, nor what else goes on on the machine.
    template <class Action>
    void timed(const Action& action) {
        const double began = processor_seconds();
        action();
        spent_ += processor_seconds() - began;
    }

    Record record(std::size_t n) {
        Record record;
        record.position.offset = record.origin.offset = static_cast<Offset>(n);
        record.epoch = 1;
        record.payload = plan_.payload(n);
        record.payload.shrink_to_fit();
        record.key = Plan::id(n);
        record.timestamp = 1'760'000'000'000;
        text_bytes_ += record.payload.size();
        return record;
    }

    void read(std::size_t from, std::size_t to) {
        std::vector<Record> records;
        for (std::size_t n = from; n < to; ++n)
            records.push_back(record(n));
        timed([&] {
            for (Record& each : records) {
                if (!source_.open()) give_up("the engine takes no more tickets");
                engine_->handle(std::move(each));
                while (auto answer = sink_.take_answer())
                    engine_->handle(std::move(*answer));
                if (const auto due = engine_->next_due(); due && *due <= clock_.now()) engine_->handle(TimePassed{});
            }
        });
    }

    Plan plan_;
    MemorySource source_;
    MemorySink sink_;
    NoTickets tickets_;
    FlowObserver observer_;
    SystemClock clock_;
    SeededRandom random_{2};
    NoOp no_op_;
    std::unique_ptr<Engine> engine_;
    std::size_t text_bytes_ = 0;
    double spent_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) give_up("usage: engine_bench chain|fanin|random TICKETS");
    Run run(argv[1], std::strtoul(argv[2], nullptr, 10));
    const Figures figures = run.measure();
    std::printf("{\"read_s\":%.4f,\"run_s\":%.4f,\"bytes_each\":%.1f,\"parked\":%zu}\n", figures.read_s, figures.run_s,
                figures.bytes_each, figures.parked);
    return 0;
}
