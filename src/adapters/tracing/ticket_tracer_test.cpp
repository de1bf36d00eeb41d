#include "adapters/tracing/ticket_tracer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace wa {
namespace {

using namespace std::chrono_literals;

class HandClock final : public Clock {
public:
    Duration since_start{};
    [[nodiscard]] MonoTime now() const override { return MonoTime(since_start); }
    // The calendar jumps about; nothing but the first look of each ticket may matter.
    [[nodiscard]] EpochMillis wall_now() const override { return wall; }
    EpochMillis wall = 1'000'000;
};

class Kept final : public SpanSink {
public:
    std::vector<Span> spans;
    void end(Span span) override { spans.push_back(std::move(span)); }
    [[nodiscard]] const Span& named(std::string_view name) const {
        for (const Span& span : spans) {
            if (span.name == name) return span;
        }
        ADD_FAILURE() << "no span " << name;
        static const Span kNone;
        return kNone;
    }
    [[nodiscard]] std::ptrdiff_t count(std::string_view name) const {
        return std::ranges::count(spans, name, &Span::name);
    }
};

std::string text(const Span& span, std::string_view key) {
    for (const auto& [name, value] : span.attributes) {
        if (name != key) continue;
        const auto* found = std::get_if<std::string>(&value);
        return found == nullptr ? "(not a text)" : *found;
    }
    return "(absent)";
}

class TicketTracerTest : public ::testing::Test {
protected:
    void make(std::string_view sampler = "parentbased_always_on", std::size_t max_tickets = 100) {
        tracer.emplace(
            clock, span_time, random, Sampler::parse(sampler).value(), sink,
            [this](const TicketView&) {
                ++asked;
                return hint;
            },
            max_tickets);
    }
    static TicketView view(std::string_view id = "t-1", std::int32_t attempt = 0) {
        TicketView ticket;
        ticket.ticket_id = id;
        ticket.plan_id = "plan-1";
        ticket.intent_id = "intent-1";
        ticket.task_id = "node-1";
        ticket.correlation_id = "corr-1";
        ticket.task_type = TaskType::kTest;
        ticket.attempt = attempt;
        return ticket;
    }
    static AttemptReport success() {
        AttemptReport report;
        report.success = true;
        report.runtime = "local";
        report.exit_code = 0;
        return report;
    }
    static AttemptReport failure(ErrorCode code, const std::string& message) {
        AttemptReport report;
        report.error = make_error(code, Retry::kAfterBackoff, Fault::kTask, "local", message);
        return report;
    }
    static Settlement result(Outcome outcome, const std::string& message = "") {
        Settlement settlement;
        settlement.outcome = outcome;
        settlement.result.error_message = message;
        return settlement;
    }
    void after(Duration time) { clock.since_start += time; }

    HandClock clock;
    tracing::SpanTime span_time{clock};
    SeededRandom random{5};
    Kept sink;
    TraceHint hint;
    int asked = 0;
    std::optional<TicketTracer> tracer;
};

TEST_F(TicketTracerTest, ATicketsLifeIsOneTree) {
    hint.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    make();
    tracer->ticket_consumed(view());
    tracer->ticket_moved(view(), State::kReceived, Event::kDependenciesOpen, State::kParked, "");
    after(10ms);
    clock.wall += 500'000;  // somebody set the calendar
    tracer->dependency_wait_ended(view(), "success", 10ms);
    tracer->ticket_moved(view(), State::kParked, Event::kDependenciesDone, State::kReady, "");
    after(5ms);
    tracer->attempt_started(view("t-1", 1), 5ms);
    after(20ms);
    tracer->attempt_ended(view("t-1", 1), success(), 20ms, -1ns);
    tracer->outcome_decided(view("t-1", 1), result(Outcome::kCompleted));
    after(2ms);
    tracer->ticket_settled(view("t-1", 1), result(Outcome::kCompleted));

    ASSERT_EQ(sink.spans.size(), 5U);
    const Span& ticket = sink.named("ticket_execution");
    EXPECT_EQ(hex(ticket.context.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    ASSERT_TRUE(ticket.parent);
    EXPECT_EQ(hex(*ticket.parent), "00f067aa0ba902b7");
    EXPECT_EQ(ticket.start_ns, 1'000'000'000'000);
    EXPECT_EQ(ticket.end_ns - ticket.start_ns, 37'000'000);
    EXPECT_EQ(text(ticket, "neural.hive.ticket_id"), "t-1");
    EXPECT_EQ(text(ticket, "neural.hive.task_type"), "TEST");
    EXPECT_EQ(text(ticket, "neural.hive.plan_id"), "plan-1");
    EXPECT_EQ(text(ticket, "neural.hive.intent_id"), "intent-1");
    EXPECT_EQ(text(ticket, "neural.hive.outcome"), "completed");
    EXPECT_EQ(text(ticket, "error.type"), "(absent)");
    EXPECT_EQ(ticket.status, SpanStatus::kOk);
    std::set<std::string> ids;
    for (const Span& span : sink.spans) {
        EXPECT_EQ(span.context.trace_id, ticket.context.trace_id);
        EXPECT_TRUE(ids.insert(hex(span.context.span_id)).second) << "every span has an id of its own";
        EXPECT_LE(span.start_ns, span.end_ns);
        EXPECT_GE(span.start_ns, ticket.start_ns);
        EXPECT_LE(span.end_ns, ticket.end_ns);
        if (span.name != "ticket_execution") {
            EXPECT_EQ(span.parent, ticket.context.span_id) << span.name;
        }
    }
    EXPECT_EQ(sink.named("dependency_wait").end_ns - sink.named("dependency_wait").start_ns, 10'000'000);
    EXPECT_EQ(sink.named("slot_wait").end_ns - sink.named("slot_wait").start_ns, 5'000'000);
    EXPECT_EQ(sink.named("result_publish").end_ns - sink.named("result_publish").start_ns, 2'000'000);
    const Span& attempt = sink.named("task_execution");
    EXPECT_EQ(attempt.end_ns - attempt.start_ns, 20'000'000);
    EXPECT_EQ(text(attempt, "neural.hive.task_id"), "t-1");
    EXPECT_EQ(text(attempt, "neural.hive.executor"), "test");
    EXPECT_EQ(text(attempt, "neural.hive.runtime"), "local");
    EXPECT_EQ(text(attempt, "neural.hive.execution_status"), "success");
    EXPECT_EQ(asked, 1);
    EXPECT_FALSE(tracer->context_of("t-1"));
}

TEST_F(TicketTracerTest, RetriesAreAttemptsOfOneTicket) {
    make();
    tracer->ticket_consumed(view());
    tracer->ticket_moved(view(), State::kReceived, Event::kDependenciesDone, State::kReady, "");
    tracer->attempt_started(view("t-1", 1), 0ns);
    after(1ms);
    tracer->attempt_ended(view("t-1", 1), failure(ErrorCode::kUnavailable, "away"), 1ms, 3s);
    tracer->ticket_moved(view(), State::kBackingOff, Event::kBackoffOver, State::kQueued, "");
    tracer->attempt_started(view("t-1", 2), 0ns);
    tracer->attempt_ended(view("t-1", 2), failure(ErrorCode::kTimeout, "too slow"), 1ms, -1ns);
    tracer->outcome_decided(view(), result(Outcome::kTimeout, "attempt 2 of 2 exceeded 1 s"));
    tracer->ticket_settled(view("t-1", 2), result(Outcome::kTimeout, "attempt 2 of 2 exceeded 1 s"));
    EXPECT_EQ(sink.count("task_execution"), 2);
    EXPECT_EQ(sink.count("slot_wait"), 2);
    const Span& ticket = sink.named("ticket_execution");
    EXPECT_FALSE(ticket.parent);
    EXPECT_EQ(ticket.status, SpanStatus::kError);
    EXPECT_EQ(ticket.status_message, "attempt 2 of 2 exceeded 1 s");
    EXPECT_EQ(text(ticket, "error.type"), "timeout");
    ASSERT_EQ(ticket.events.size(), 2U);
    EXPECT_EQ(ticket.events[0].name, "retry");
    EXPECT_EQ(ticket.events[1].name, "exception");
    EXPECT_EQ(text(sink.spans[1], "neural.hive.execution_status"), "failed");
    EXPECT_EQ(sink.spans[1].status, SpanStatus::kError);
}

TEST_F(TicketTracerTest, ErrorTypesAreThoseOfTheContract) {
    make();
    for (const auto& [outcome, word] :
         std::vector<std::pair<Outcome, std::string>>{{Outcome::kExecutionFailed, "execution_failed"},
                                                      {Outcome::kTimeout, "timeout"},
                                                      {Outcome::kDeadlineExceeded, "timeout"},
                                                      {Outcome::kDependencyFailed, "dependency"},
                                                      {Outcome::kDependencyTimeout, "dependency"},
                                                      {Outcome::kCancelled, "cancelled"},
                                                      {Outcome::kPreempted, "cancelled"}}) {
        tracer->ticket_consumed(view());
        tracer->outcome_decided(view(), result(outcome, "x"));
        tracer->ticket_settled(view(), result(outcome, "x"));
        EXPECT_EQ(text(sink.spans.back(), "error.type"), word);
    }
}

TEST_F(TicketTracerTest, TheContextOfWorkIsItsAttempt) {
    hint.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    hint.span_id = "00f067aa0ba902b7";
    make();
    tracer->ticket_consumed(view());
    const auto of_ticket = tracer->context_of("t-1");
    ASSERT_TRUE(of_ticket);
    EXPECT_EQ(hex(of_ticket->trace_id), hint.trace_id);
    EXPECT_NE(hex(of_ticket->span_id), hint.span_id) << "the parent is another span";
    tracer->attempt_started(view("t-1", 1), 0ns);
    const auto of_attempt = tracer->context_of("t-1");
    ASSERT_TRUE(of_attempt);
    EXPECT_NE(of_attempt->span_id, of_ticket->span_id);
    tracer->attempt_ended(view("t-1", 1), success(), 0ns, -1ns);
    EXPECT_EQ(sink.named("task_execution").context.span_id, of_attempt->span_id);
    EXPECT_EQ(tracer->context_of("t-1"), of_ticket);
    EXPECT_FALSE(tracer->context_of("other"));
}

TEST_F(TicketTracerTest, UnsampledTicketsKeepTheirContextAndMakeNoSpans) {
    hint.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    make();
    tracer->ticket_consumed(view());
    ASSERT_TRUE(tracer->context_of("t-1"));
    EXPECT_FALSE(tracer->context_of("t-1")->sampled);
    tracer->attempt_started(view("t-1", 1), 0ns);
    tracer->attempt_ended(view("t-1", 1), success(), 0ns, -1ns);
    tracer->outcome_decided(view(), result(Outcome::kCompleted));
    tracer->ticket_settled(view(), result(Outcome::kCompleted));
    EXPECT_TRUE(sink.spans.empty());
    EXPECT_FALSE(tracer->context_of("t-1"));
}

TEST_F(TicketTracerTest, HandingBackEndsTheSpanAndWhatRan) {
    make();
    tracer->ticket_consumed(view());
    tracer->attempt_started(view("t-1", 1), 0ns);
    tracer->ticket_moved(view(), State::kRunning, Event::kHandBack, State::kHandedBack, "drain");
    EXPECT_EQ(text(sink.named("task_execution"), "neural.hive.execution_status"), "abandoned");
    EXPECT_EQ(text(sink.named("ticket_execution"), "neural.hive.outcome"), "handed_back");
    EXPECT_EQ(sink.named("ticket_execution").status, SpanStatus::kUnset);
    EXPECT_FALSE(tracer->context_of("t-1"));
}

TEST_F(TicketTracerTest, AnotherRecordOfTheSameTicketDoesNotDisturb) {
    make();
    tracer->ticket_consumed(view());
    tracer->attempt_started(view("t-1", 1), 0ns);
    const auto running = tracer->context_of("t-1");
    tracer->ticket_consumed(view());
    tracer->ticket_moved(view(), State::kReceived, Event::kDuplicateInHand, State::kHeld, "");
    tracer->ticket_moved(view(), State::kHeld, Event::kHandBack, State::kHandedBack, "revoked");
    EXPECT_EQ(tracer->context_of("t-1"), running);
    Settlement repeat;
    repeat.kind = SettlementKind::kSuppressed;
    tracer->ticket_settled(view(), repeat);
    EXPECT_EQ(tracer->context_of("t-1"), running);
    tracer->attempt_ended(view("t-1", 1), failure(ErrorCode::kExecutionFailed, "x"), 0ns, -1ns);
    tracer->outcome_decided(view(), result(Outcome::kExecutionFailed));
    tracer->ticket_settled(view(), result(Outcome::kExecutionFailed));
    EXPECT_EQ(sink.count("ticket_execution"), 1);
    // It failed, so the second record runs: a span of its own.
    tracer->ticket_moved(view(), State::kHeld, Event::kFirstCopyEnded, State::kReceived, "");
    tracer->ticket_moved(view(), State::kReceived, Event::kDependenciesDone, State::kReady, "");
    tracer->attempt_started(view("t-1", 1), 0ns);
    tracer->attempt_ended(view("t-1", 1), success(), 0ns, -1ns);
    tracer->outcome_decided(view(), result(Outcome::kCompleted));
    tracer->ticket_settled(view(), result(Outcome::kCompleted));
    EXPECT_EQ(sink.count("ticket_execution"), 2);
}

TEST_F(TicketTracerTest, ARepeatOfACompletedTicketIsADuplicate) {
    make();
    tracer->ticket_consumed(view());
    Settlement repeat;
    repeat.kind = SettlementKind::kSuppressed;
    tracer->outcome_decided(view(), repeat);
    tracer->ticket_settled(view(), repeat);
    EXPECT_EQ(text(sink.named("ticket_execution"), "neural.hive.outcome"), "duplicate");
    EXPECT_EQ(sink.count("result_publish"), 0);
}

TEST_F(TicketTracerTest, TicketsInHandAreBounded) {
    make("always_on", 2);
    for (const char* id : {"a", "b", "c", "d"})
        tracer->ticket_consumed(view(id));
    EXPECT_EQ(tracer->untraced(), 2U);
    EXPECT_FALSE(tracer->context_of("c"));
    tracer->ticket_settled(view("c"), result(Outcome::kCompleted));
    EXPECT_TRUE(sink.spans.empty());
    tracer->ticket_settled(view("a"), result(Outcome::kCompleted));
    tracer->ticket_consumed(view("e"));
    EXPECT_TRUE(tracer->context_of("e"));
}

TEST_F(TicketTracerTest, TextsOfTicketsAreCut) {
    make();
    const std::string large(1'000'000, 'x');
    TicketView ticket = view();
    ticket.plan_id = large;
    tracer->ticket_consumed(ticket);
    tracer->ticket_settled(ticket, result(Outcome::kExecutionFailed, large));
    const Span& span = sink.named("ticket_execution");
    EXPECT_LE(text(span, "neural.hive.plan_id").size(), 300U);
    EXPECT_LE(span.status_message.size(), 600U);
}

TEST_F(TicketTracerTest, StopsAreEvents) {
    make();
    tracer->ticket_consumed(view());
    for (int i = 0; i < 1000; ++i)
        tracer->stop_requested(view(), StopReason::kCancelled);
    tracer->ticket_settled(view(), result(Outcome::kCancelled, "x"));
    const Span& span = sink.named("ticket_execution");
    EXPECT_EQ(span.events.front().name, "stop_requested");
    EXPECT_LE(span.events.size(), 40U);
}

}  // namespace
}  // namespace wa
