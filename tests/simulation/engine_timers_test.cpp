// What the engine keeps of tickets that have ended: not their limits and deadlines, be those hours away.
#include <gtest/gtest.h>

#include <cstdio>
#include <deque>
#include <optional>

#include "base/random.h"
#include "core/codec/ticket_json.h"
#include "flow/engine.h"

namespace wa {
namespace {

struct StillClock final : Clock {
    [[nodiscard]] MonoTime now() const override { return MonoTime(std::chrono::hours(1)) + passed; }
    [[nodiscard]] EpochMillis wall_now() const override { return 1'760'000'000'000; }
    Duration passed{};
};

struct IdleSource final : TicketSource {
    void set_open(bool) override {}
    void release(PartitionId, Epoch) override {}
};

struct AgreeingSink final : ResultSink {
    [[nodiscard]] SinkTraits traits() const override { return {}; }
    void commit(const CommitBatch& batch) override { answer.emplace().number = batch.number; }
    void recover() override {}
    std::optional<CommitResult> answer;
};

struct NoTickets final : TicketService {
    void update_status(StatusUpdate) override {}
    void lookup(std::vector<std::string>) override {}
};

struct AtOnce final : Executor {
    struct Attempt final : RunningAttempt {
        void stop(StopReason, Duration) override {}
    };
    [[nodiscard]] TaskType task_type() const override { return TaskType::kExecute; }
    [[nodiscard]] std::string backend(const Ticket&) const override { return "at-once"; }
    [[nodiscard]] bool has_effects(const Ticket&) const override { return false; }
    [[nodiscard]] bool can_detach(const Ticket&) const override { return false; }
    [[nodiscard]] Result<void> validate(const Ticket&) const override { return {}; }
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        AttemptListener& listener) override {
        AttemptReport report;
        report.success = true;
        listener.attempt_ended(context.key, std::move(report));
        return std::make_unique<Attempt>();
    }
};

// Its attempts end when they are stopped.
struct Endless final : Executor {
    struct Attempt final : RunningAttempt {
        explicit Attempt(std::vector<StopReason>& made) : stops(made) {}
        void stop(StopReason reason, Duration) override { stops.push_back(reason); }
        std::vector<StopReason>& stops;
    };
    [[nodiscard]] TaskType task_type() const override { return TaskType::kExecute; }
    [[nodiscard]] std::string backend(const Ticket&) const override { return "endless"; }
    [[nodiscard]] bool has_effects(const Ticket&) const override { return false; }
    [[nodiscard]] bool can_detach(const Ticket&) const override { return false; }
    [[nodiscard]] Result<void> validate(const Ticket&) const override { return {}; }
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext&, AttemptListener&) override {
        return std::make_unique<Attempt>(stops);
    }
    std::vector<StopReason> stops;
};

std::string ticket(int number) {
    char id[37];
    std::snprintf(id, sizeof id, "00000000-0000-4000-8000-%012d", number);
    Ticket ticket;
    ticket.ticket_id = id;
    ticket.plan_id = ticket.intent_id = ticket.decision_id = ticket.task_id = "t";
    ticket.created_at = 1'760'000'000'000;
    ticket.sla.timeout_ms = 3'600'000;
    return write_ticket(ticket);
}

TEST(EngineTimers, OfEndedTicketsAreForgotten) {
    const StillClock clock;
    SeededRandom random(1);
    IdleSource source;
    AgreeingSink sink;
    NoTickets tickets;
    FlowObserver observer;
    AtOnce executor;
    Engine engine(
        {},
        {source, sink, tickets, observer, clock, random, {{TaskType::kExecute, &executor}}, [](std::string_view text) {
             return parse_ticket(text);
         }});
    PartitionAssigned assigned;
    assigned.epoch = 1;
    engine.handle(std::move(assigned));
    std::size_t most = 0;
    for (int number = 0; number < 10'000; ++number) {
        Record record;
        record.position = {0, number};
        record.epoch = 1;
        record.payload = ticket(number);
        engine.handle(std::move(record));
        while (sink.answer)
            engine.handle(*std::exchange(sink.answer, std::nullopt));
        ASSERT_TRUE(engine.idle());
        most = std::max(most, engine.timers());
    }
    EXPECT_GT(most, 0U);
    EXPECT_LT(most, 2000U) << "its limit is an hour away for each of them";
}

TEST(EngineTimers, OfADrainThatWasTakenBackAreNotThoseOfTheNext) {
    StillClock clock;
    SeededRandom random(1);
    IdleSource source;
    AgreeingSink sink;
    NoTickets tickets;
    FlowObserver observer;
    Endless executor;
    EngineOptions options;
    options.shutdown_grace = std::chrono::seconds(30);
    Engine engine(
        options,
        {source, sink, tickets, observer, clock, random, {{TaskType::kExecute, &executor}}, [](std::string_view text) {
             return parse_ticket(text);
         }});
    const auto after = [&](int seconds, EngineInput input) {
        clock.passed += std::chrono::seconds(seconds);
        engine.handle(std::move(input));
        while (sink.answer)
            engine.handle(*std::exchange(sink.answer, std::nullopt));
    };
    PartitionAssigned assigned;
    assigned.epoch = 1;
    after(0, std::move(assigned));
    Record record;
    record.position = {0, 0};
    record.epoch = 1;
    record.payload = ticket(1);
    after(0, std::move(record));
    after(0, StartDrain{false, "first"});
    after(20, StopDrain{});
    after(5, StartDrain{false, "second"});
    after(10, TimePassed{});
    EXPECT_TRUE(executor.stops.empty()) << "that was the first drain's limit";
    after(20, TimePassed{});
    EXPECT_EQ(executor.stops, std::vector<StopReason>{StopReason::kShutdown});
}

}  // namespace
}  // namespace wa
